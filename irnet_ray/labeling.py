"""What labeling does with a plan: run the stages that are left, publish the version, report on it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from irnet_ray.config import Config
from irnet_ray.errors import UserError, printable
from irnet_ray.report.classifier import known_tags
from irnet_ray.report.summary import Row, Summary
from irnet_ray.report.text import classifier_lines
from irnet_ray.report.unusual import unusual
from irnet_ray.run import Shards, publish
from irnet_ray.stages.plan import Plan

REPORT = "report.json"


def run_plan(plan: Plan, workers: int | None, address: str | None, console: Console) -> dict[str, Any]:
    """Do what is left of a plan, and publish it; returns the report."""
    todo = [stage for stage in plan.order if not plan.is_done(stage)]
    _print_plan(plan, console)
    if "classifier" not in todo:
        _print_classifier(plan, console)
    if not todo:
        console.print("everything is done already, nothing is computed", soft_wrap=True)
    else:
        _check_weights(plan.config)
        from irnet_ray.engine.session import session

        plan.write_inputs()
        with session(address) as devices:
            console.print(f"devices: {devices}", highlight=False, soft_wrap=True)
            devices.check(workers)
            for stage in todo:
                start = time.monotonic()
                summary = _run_stage(plan, stage, devices, workers)
                seconds = round(time.monotonic() - start)
                plan.folder(stage).write_json("done.json", {"seconds": seconds, "summary": summary})
                console.print(
                    f"{stage}: {summary}, {seconds // 60}:{seconds % 60:02d} min", highlight=False, soft_wrap=True
                )
                if stage == "classifier":
                    _print_classifier(plan, console)
    labels, errors = plan.shards("labels").counts()
    if labels + errors != len(plan.table):
        raise RuntimeError(f"{labels} labels and {errors} errors are not {len(plan.table)} images.")
    publish(
        plan.out,
        {
            "version": plan.version,
            "stages": plan.names,
            "shards": plan.shard_count,
            "vocabulary": plan.vocabulary,
            "images": len(plan.table),
            "labels": labels,
            "errors": errors,
            "config": plan.config.model_dump(mode="json"),
        },
    )
    return _report(plan, console)


def _report(plan: Plan, console: Console) -> dict[str, Any]:
    """The report of a finished version: the one that is there, or a new one from its tables."""
    from irnet_ray.engine.progress import Reading, display

    known: dict[str, Any] | None = plan.out.read_json(REPORT)
    if known is not None and known["version"] == plan.version:
        return known
    labels, summary = plan.shards("labels"), Summary()
    count, errors = labels.counts()
    with display("report", "images", lambda: Reading(summary.every.images, count), console):
        for label_row, seed_row in _pairs(labels, plan.shards("seeds")):
            summary.add(label_row, seed_row)
    kinds = Counter(
        kind for name in labels.errors.files() for kind in labels.errors.read_table(name, ["kind"])["kind"].to_pylist()
    )
    figures = summary.to_json(plan.vocabulary)
    report = {
        "version": plan.version,
        "images": len(plan.table),
        "labels": count,
        "errors": errors,
        "errors_by_kind": dict(kinds.most_common()),
        "unusual": unusual(figures),
        "classifier": _known_tags(plan),
        **figures,
    }
    plan.out.write_json(REPORT, report)
    return report


def _pairs(labels: Shards, seeds: Shards) -> Iterator[tuple[Row, Row]]:
    """Every label with its seed; no more than a row group of each is in memory."""
    for name in labels.rows.files():
        # Parts are sorted by id, and a label's seed is in the part of the same name.
        seed_rows = seeds.rows.stream_rows(name, ["image_id", "class_ids", "cam", "cam_shape", "confident_map"])
        for label_row in labels.rows.stream_rows(name, ["image_id", "tags", "instances", "semantic"]):
            seed_row = next((row for row in seed_rows if row["image_id"] == label_row["image_id"]), None)
            if seed_row is None:
                raise RuntimeError(f"{name}: the label of {label_row['image_id']} has no seed.")
            yield label_row, seed_row


def _known_tags(plan: Plan) -> dict[str, Any]:
    return known_tags(plan.folder("classifier").read_json("measured.json"), len(plan.vocabulary))


def _print_classifier(plan: Plan, console: Console) -> None:
    for line in classifier_lines(_known_tags(plan)):
        console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)


def _run_stage(plan: Plan, stage: str, devices: Any, workers: int | None) -> str:
    """Run one stage to its end; returns what it made, in a few words."""
    from irnet_ray.engine.mapping import run_map
    from irnet_ray.engine.training import run_training
    from irnet_ray.stages import classifier, irnet, labels, prototypes, seeds

    config, images, vocabulary = plan.config, plan.shards("images"), plan.vocabulary
    if stage in ("classifier", "irnet"):
        usable = plan.usable if stage == "classifier" else plan.shards("seeds").counts()[0]
        if not usable:
            raise UserError(f"None of the {len(plan.table)} images could be used: see {plan.out.location}/stages.")
        training = (
            classifier.stage(config, images, vocabulary, usable)
            if stage == "classifier"
            else irnet.stage(config, images, plan.shards("seeds"), plan.folder("classifier"), usable)
        )
        terms = run_training(training, plan.folder(stage), devices, workers)
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in terms.items())
        return f"{training.schedule.iterations} iterations, {shown}"
    if stage == "prototypes":
        # A tag's images are many: a unit is one tag.
        by_tag = prototypes.stage(config, plan.shards("tags"), vocabulary, plan.folder("classifier"))
        done = run_map(by_tag, plan.folder(stage), plan.tags_by_shard, plan.shard_count, 1, devices, workers)
        return f"{done.computed} tags computed, {done.rows} rows, {done.errors} errors"
    found = plan.shards("prototypes") if "prototypes" in plan.order else None
    mapping = (
        seeds.stage(config, images, vocabulary, plan.folder("classifier"), found)
        if stage == "seeds"
        else labels.stage(config, images, plan.shards("seeds"), plan.folder("irnet"), plan.version)
    )
    done = run_map(mapping, plan.folder(stage), plan.ids_by_shard, plan.shard_count, config.unit_size, devices, workers)
    return f"{done.computed} images computed, {done.rows} rows, {done.errors} errors"


def _check_weights(config: Config) -> None:
    """Check before Ray starts that the backbone's weights are there and fit."""
    from irnet_ray.networks.backbone import build_backbone
    from irnet_ray.networks.weights import imagenet_weights_path, load_backbone, read_state

    try:
        path = config.weights or str(imagenet_weights_path(config.backbone))
        load_backbone(build_backbone(config.backbone), read_state(path), path)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise UserError(str(error)) from error


def _print_plan(plan: Plan, console: Console) -> None:
    import pyarrow.compute as pc

    broken = len(plan.table) - plan.usable
    note = f" ({broken} unreadable)" if broken else ""
    counts = pc.value_counts(pc.list_flatten(plan.table["tags"])).to_pylist()
    counts.sort(key=lambda tag: (-tag["counts"], tag["values"]))
    tags = ", ".join(f"{printable(tag['values'])} {tag['counts']}" for tag in counts[:5]) + (
        ", ..." if counts[5:] else ""
    )
    console.print(
        f"{len(plan.table)} images{note}, {len(plan.vocabulary)} tags ({tags}), {plan.shard_count} shards, "
        f"backbone {plan.config.backbone}, version {plan.version} in {plan.out.location}",
        highlight=False,
        soft_wrap=True,
        markup=False,
        emoji=False,
    )
    states = ", ".join(f"{stage}: {plan.state(stage)}" for stage in plan.order)
    console.print(states, highlight=False, soft_wrap=True)
