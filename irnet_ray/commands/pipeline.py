"""Carry out a plan: run the stages that are left, publish the version, report on it."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console

from irnet_ray._version import __version__
from irnet_ray.commands.plan import Plan
from irnet_ray.config.load import recorded_config
from irnet_ray.errors import UserError, printable
from irnet_ray.report.classifier import known_tags
from irnet_ray.report.lines import classifier_lines
from irnet_ray.report.names import named
from irnet_ray.report.profile import advice
from irnet_ray.report.summary import Summary
from irnet_ray.report.unusual import unusual
from irnet_ray.runs.records import begin, publish
from irnet_ray.runs.run import REPORT, WEIGHTS, current
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Source, Version
from irnet_ray.stages.graph import STAGES, Stage
from irnet_ray.tables import Row
from irnet_ray.text import count

if TYPE_CHECKING:
    from irnet_ray.engine.reuse import Reused
    from irnet_ray.engine.steps import MapStage
    from irnet_ray.engine.task import TrainStage

MADE_BY = "made_by.json"  # beside the labels: what the fingerprint in their rows stands for


def run_plan(
    plan: Plan,
    source: Source,
    workers: int | None,
    address: str | None,
    console: Console,
    reused: Reused | None = None,
    before_publishing: Callable[[], None] | None = None,
    account: dict[str, Any] | None = None,
    category_ids: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Run the stages of a plan that are not done, and publish the version; returns the report.

    Args:
        plan: where each stage's result belongs.
        source: where the images came from.
        workers: training workers and network actors.
        address: a Ray cluster; None for `RAY_ADDRESS`, else a local Ray.
        console: where the plan and the progress go.
        reused: rows of an earlier version to reuse.
        before_publishing: called when all stages are done; Ray still runs then if a stage needed it.
        account: of every file seen, for the report; None if it is not known.
        category_ids: COCO's own number of each class; None where the images did not come from a COCO file.
    """
    todo = [stage for stage in plan.order if not plan.is_done(stage)]
    trains = STAGES["classifier"] in todo
    _print_plan(plan, console)
    plan.depths.check()
    if not trains:
        _print_classifier(plan, console)
    if not todo:
        console.print("everything is done already, nothing is computed", soft_wrap=True)
    elif trains:
        _check_weights(plan)
    version = version_of(plan, source, category_ids)
    if todo:
        begin(plan.out, version)
    plan.write_inputs()  # also of a finished run: a part may have been lost since
    plan.shards("images").check(plan.ids_by_shard, errors=False)
    with _ray(address) if todo else contextlib.nullcontext() as devices:
        _run_stages(plan, todo, devices, workers, console, reused)
        labels, errors = plan.shards("labels").check(plan.ids_by_shard)
        if before_publishing is not None:
            before_publishing()
    _record_weights(plan)
    publish(plan.out, version.with_entries(labels=labels, errors=errors))
    return _report(plan, console, account)


def version_of(plan: Plan, source: Source, category_ids: dict[str, Any] | None = None) -> Version:
    """What `current.json` will hold for a plan, except for the counts of labels and errors."""
    return Version.of(
        version=plan.version,
        stages=plan.names,
        shards=plan.shard_count,
        vocabulary=plan.vocabulary,
        names=plan.class_names or None,
        category_ids=category_ids or None,
        images=len(plan.table),
        config=plan.config.model_dump(mode="json"),
        data=source.to_json(),
        code=__version__,
        revisions={stage.name: stage.revision for stage in STAGES.values()},
        made_by=plan.made_by,  # the `fingerprint` of its rows
        base=plan.base.identity() if plan.base is not None else None,
    )


def _record_weights(plan: Plan) -> None:
    """Record once what made the labels. Raises UserError if the weights have changed since."""
    folder, made_by = plan.stage("labels"), _made_by(plan)
    known = folder.read_json(MADE_BY)
    if known is None:
        folder.write_json(MADE_BY, made_by)
    elif not isinstance(known, dict) or known.get("weights") != made_by["weights"]:
        raise UserError(
            f"The networks in {plan.out.location}/stages are not those that made the labels in {folder.location}: "
            "delete the labels' folder and run the same command again."
        )


def _made_by(plan: Plan) -> dict[str, Any]:
    """What the `fingerprint` of the labels' rows stands for: weights by their bytes, config and code."""
    weights = {}
    for stage in plan.order:
        if stage.per_image:
            continue
        weights[stage.name] = {"folder": plan.names[stage.name]}
        if stage.kind == "train":
            digest = hashlib.blake2b(plan.stage(stage.name).read(WEIGHTS), digest_size=16).hexdigest()
            weights[stage.name]["blake2b"] = digest
    return {
        "fingerprint": plan.made_by,
        "code": __version__,
        "weights_code": plan.base.code if plan.base is not None else __version__,
        "weights": weights,
        "config": plan.config.model_dump(mode="json"),
    }


def _ray(address: str | None) -> contextlib.AbstractContextManager[Any]:
    from irnet_ray.engine.session import session  # late: a finished run need not wait for the import of Ray

    return session(address)


def _run_stages(
    plan: Plan, todo: list[Stage], devices: Any, workers: int | None, console: Console, reused: Reused | None
) -> None:
    if todo:
        console.print(f"devices: {devices}", highlight=False, soft_wrap=True)
        devices.check(workers)
    for stage in todo:
        start, folder = time.monotonic(), plan.stage(stage.name)
        summary = _run_stage(plan, stage, devices, workers, reused)
        seconds = round(time.monotonic() - start)
        folder.write_json("done.json", {"seconds": seconds, "summary": summary})
        line = f"{stage.name}: {summary}, {seconds // 60}:{seconds % 60:02d} min"
        console.print(line, highlight=False, soft_wrap=True)
        profile = folder.read_json("profile.json")
        if profile is not None:
            console.print(f"{stage.name}: {advice(profile)}", highlight=False, soft_wrap=True)
        if stage is STAGES["classifier"]:
            _print_classifier(plan, console)


def _run_stage(plan: Plan, stage: Stage, devices: Any, workers: int | None, reused: Reused | None) -> str:
    """Run one stage; returns what it made, in a few words."""
    from irnet_ray.engine.steps import MapStage
    from irnet_ray.engine.task import TrainStage

    built = stage.build(plan)
    if isinstance(built, TrainStage):
        return _train(plan, stage, built, devices, workers)
    if isinstance(built, MapStage):
        return _map(plan, stage, built, devices, workers, reused)
    return built(plan.stage(stage.name))


def _train(plan: Plan, stage: Stage, training: TrainStage, devices: Any, workers: int | None) -> str:
    from irnet_ray.engine.training import run_training

    terms = run_training(training, plan.stage(stage.name), devices, workers)
    shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in terms.items())
    return f"{training.schedule.iterations} iterations, {shown}"


def _map(plan: Plan, stage: Stage, mapping: MapStage, devices: Any, workers: int | None, reused: Reused | None) -> str:
    from irnet_ray.engine.mapping import run_map
    from irnet_ray.engine.reuse import reuse_rows

    taken = ""
    if reused is not None and stage.name in reused.results:
        count = reuse_rows(reused.results[stage.name], plan.shards(stage.name), mapping.schema, reused.uris)
        taken = f" {count} reused,"
    unit, seconds = plan.config.unit_size, plan.config.image_seconds
    if stage.rows == "tags":  # one tag stands for many images
        unit, seconds = 1, seconds * plan.config.seeds.prototype_images
    folder, keys = plan.stage(stage.name), plan.keys_by_shard(stage)
    done = run_map(mapping, folder, keys, plan.shard_count, unit, devices, workers, seconds)
    return f"{done.computed} {stage.unit} computed,{taken} {done.rows} rows, {done.errors} errors"


def _report(plan: Plan, console: Console, account: dict[str, Any] | None) -> dict[str, Any]:
    """The report of a finished version: the existing one, or a new one from its tables."""
    from irnet_ray.engine.progress import Reading, display

    known = plan.out.read_object(REPORT)
    if known.get("version") == plan.version:
        return known
    known = plan.stage("labels").read_object(REPORT)
    if known.get("version") == plan.version:  # this version was the current one before
        plan.out.write_json(REPORT, known)
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
        "account": account,
        "images": len(plan.table),
        "labels": count,
        "errors": errors,
        "errors_by_kind": dict(kinds.most_common()),
        "unusual": unusual(figures),
        "classifier": _known_tags(plan),
        **({"names": plan.class_names} if plan.class_names else {}),
        **({"pixels": plan.depths.to_json()} if plan.depths.images else {}),
        **figures,
    }
    plan.stage("labels").write_json(REPORT, report)
    plan.out.write_json(REPORT, report)
    return report


def _pairs(labels: Shards, seeds: Shards) -> Iterator[tuple[Row, Row]]:
    """Every label with its seed. At most one row group of each table is in memory."""
    for name in labels.rows.files():
        # Parts are sorted by id, and a label's seed is in the part of the same name.
        seed_rows = seeds.rows.stream_rows(name, ["image_id", "class_ids", "cam", "cam_shape", "confident_map"])
        for label_row in labels.rows.stream_rows(name, ["image_id", "tags", "instances", "semantic"]):
            seed_row = next((row for row in seed_rows if row["image_id"] == label_row["image_id"]), None)
            if seed_row is None:
                raise RuntimeError(f"{name}: the label of {label_row['image_id']} has no seed.")
            yield label_row, seed_row


def _known_tags(plan: Plan) -> dict[str, Any]:
    return known_tags(plan.stage("classifier").read_json("measured.json"), len(plan.vocabulary))


def _print_classifier(plan: Plan, console: Console) -> None:
    if plan.config.classifier.pretrained:
        return
    for line in named(classifier_lines(_known_tags(plan)), plan.class_names):
        console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)


def _check_weights(plan: Plan) -> None:
    """Check before Ray starts that the backbone's weights exist and fit."""
    config = plan.config
    if config.classifier.pretrained:
        from irnet_ray.stages.classifier import pretrained

        pretrained(config, plan.vocabulary)
        return
    from irnet_ray.networks.backbones import find_backbone
    from irnet_ray.networks.weights import imagenet_state, load_backbone

    backbone = find_backbone(config.backbone)
    try:
        state = imagenet_state(backbone, config.weights)
        load_backbone(backbone.network(), state, config.weights or backbone.name)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise UserError(str(error)) from error


def relabel_hint(plan: Plan) -> str | None:
    """Hint when everything would be retrained although a finished version of the same config exists."""
    known = current(plan.out)
    if known is None or known.student is not None or plan.is_done(STAGES["classifier"]):
        return None
    if known.stages["images"] == plan.names["images"] or recorded_config(known.config) != plan.config:
        return None
    return (
        f"The images are not those of version {known.id}, so everything is computed again. To compute only what has "
        f"changed, with the networks of that version: irnet-ray relabel {plan.out.location}"
    )


def _print_plan(plan: Plan, console: Console) -> None:
    import pyarrow.compute as pc

    broken = len(plan.table) - plan.usable
    untagged = pc.sum(pc.equal(pc.list_value_length(plan.table["tags"]), 0)).as_py() or 0
    notes = [f"{broken} unreadable"] * bool(broken) + [f"{untagged} without a tag"] * bool(untagged)
    note = f" ({', '.join(notes)})" if notes else ""
    counts = pc.value_counts(pc.list_flatten(plan.table["tags"])).to_pylist()
    counts.sort(key=lambda tag: (-tag["counts"], tag["values"]))
    tags = ", ".join(f"{printable(tag['values'])} {tag['counts']}" for tag in counts[:5]) + (
        ", ..." if counts[5:] else ""
    )
    console.print(
        f"{len(plan.table)} images{note}, {count(len(plan.vocabulary), 'tag')} ({named(tags, plan.class_names)}), "
        f"{plan.shard_count} shards, backbone {plan.config.backbone}, version {plan.version} in {plan.out.location}",
        highlight=False,
        soft_wrap=True,
        markup=False,
        emoji=False,
    )
    for line in plan.depths.lines():
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    states = ", ".join(f"{stage.name}: {plan.state(stage)}" for stage in plan.order)
    console.print(states, highlight=False, soft_wrap=True)
