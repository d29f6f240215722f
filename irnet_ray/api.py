"""The verbs of the command line as Python functions."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from irnet_ray.config import Config, load_config
from irnet_ray.errors import UserError, printable
from irnet_ray.evaluation.evaluate import evaluate_predictions, evaluate_rows
from irnet_ray.evaluation.result import CAM, CAM_ONE_SCALE, Evaluation
from irnet_ray.evaluation.truth import Truth, load_truth
from irnet_ray.inputs.folder import read_folder
from irnet_ray.inputs.scenes import generate
from irnet_ray.lock import hold
from irnet_ray.report.classifier import known_tags
from irnet_ray.report.summary import Row, Summary
from irnet_ray.report.text import classifier_lines
from irnet_ray.report.unusual import unusual
from irnet_ray.run import Folder, Shards, publish, writable
from irnet_ray.run import finished as finished
from irnet_ray.stages.plan import Plan
from irnet_ray.stages.students import KINDS
from irnet_ray.students import train

SCENES = "scenes"
REPORT = "report.json"


@dataclass(frozen=True)
class LabelResult:
    """What a labeling run holds: `images = labels + errors`."""

    out: str
    version: str
    images: int
    labels: int
    errors: int
    instances: int
    truth: str | None  # of generated scenes
    report: dict[str, Any]  # the content of OUT/report.json
    models: tuple[str, ...] = ()  # folders of the students, in order


def label(
    data: str | Path | None = None,
    out: str | Path = "irnet-out",
    *,
    shards: int = 4,
    backbone: str | None = None,
    weights: str | None = None,
    config: str | Path | None = None,
    seeds: str | None = None,
    preset: str | None = None,
    workers: int | None = None,
    limit: int | None = None,
    then: Sequence[str] = (),
    address: str | None = None,
    console: Console | None = None,
) -> LabelResult:
    """Label every image of `data` from its tags alone; what an earlier run has done is not done again.

    Args:
        data: folder of images with `tags.csv` or `tags.parquet`; None for generated scenes.
        out: the run directory.
        shards: Parquet files per table.
        backbone: `resnet50` or `lite0`, over the config's.
        weights: path of the backbone's ImageNet weights, over the config's.
        config: YAML or JSON file of knobs.
        seeds: `prototypes`, `correlation` or `cam`: how seeds are made, over the config's.
        preset: `paper` for the published pipeline, under the config's own values.
        workers: training workers and network actors; None for one per GPU, or per core where there is none.
        limit: label only the first so many images.
        then: students to train on the labels, in order: `mask-rcnn`, `deeplab`.
        address: a Ray cluster; None for `RAY_ADDRESS`, else a local Ray for this call.
        console: where the plan and the progress go.

    Raises:
        UserError: bad input, said in one sentence, before anything is computed.
    """
    console = console or Console()
    overrides = {"backbone": backbone, "weights": weights, "seeds": {"method": seeds}}
    knobs = load_config(Path(config) if config else None, overrides, data is None, preset)
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}.")
    if shards < 1:
        raise UserError(f"--shards must be at least 1, got {shards}.")
    for kind in then:
        if kind not in KINDS:
            raise UserError(f"No student {kind!r}: --then takes {' and '.join(KINDS)}, separated by a comma.")
    folder = writable(out)
    truth = None
    with hold(folder):
        if data is None:
            console.print(
                f"No --data: labeling generated scenes, in {folder.local_path}/{SCENES}.",
                highlight=False,
                soft_wrap=True,
                markup=False,
            )
            data = generate(Path(folder.local_path) / SCENES)
            truth = str(Path(data) / "truth.json")
        plan = Plan(folder, knobs, read_folder(Path(data), shards, limit), shards)
        if not plan.usable:
            raise UserError(f"None of the {len(plan.table)} image files has a readable header.")
        folder.write_json("config.json", knobs.model_dump(mode="json"))
        report = _run(plan, workers, address, console)
        students = [train(kind, out, config=config, workers=workers, address=address, console=console) for kind in then]
    counts = (report["images"], report["labels"], report["errors"], report["overall"]["instances"])
    models = tuple(student.model for student in students)
    return LabelResult(folder.local_path, plan.version, *counts, truth, report, models)


def _run(plan: Plan, workers: int | None, address: str | None, console: Console) -> dict[str, Any]:
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


def evaluate(
    out: str | Path,
    truth: str | Path,
    ablation: bool = False,
    upper_bound: bool = False,
    *,
    address: str | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Compare a run's labels, and its raw CAMs beside them, with the truth in a COCO JSON file.

    Args:
        out: the run directory, of labels or of a student's predictions.
        truth: the file of instances; images are matched by file name.
        ablation: compare also with labels made without displacement field and with those of AffinityNet (paper 6.2),
            and take the CAM over all scales. What is missing for that is computed on Ray, AffinityNet's training
            included.
        upper_bound: of a student's predictions: train the same student on truth, under cross-validation, and say
            what share of its figures the predictions reach (paper 6.3).
        address: for these two, a Ray cluster; None for `RAY_ADDRESS`, else a local Ray for this call.
        workers: for these two, training workers and network actors; None for one per GPU, else per core.
        console: where these two say what they did.

    Raises:
        UserError: no finished run, no such truth, or none of its images in the run.
    """
    known = load_truth(Path(truth))
    folder, version = finished(out)
    if "student" in version:
        if ablation:
            raise UserError(f"{out} holds a student's predictions: the ablation is of a labeling run.")
        return _evaluate_predictions(folder, version, known, upper_bound, address, workers, console)
    if upper_bound:
        raise UserError(f"{out} holds labels: the upper bound is of a student's predictions, see `irnet-ray predict`.")
    shards = {
        stage: Shards(folder.folder("stages", name), version["shards"]) for stage, name in version["stages"].items()
    }
    image_ids = _ids(shards["images"])

    def comparisons() -> Iterator[dict[str, Any]]:  # asked for last: nothing is trained for a truth that does not fit
        from irnet_ray.ablation import ablation_rows

        wanted = sorted(image_ids & known.images.keys())
        yield from ablation_rows(out, wanted, address=address, workers=workers, console=console)

    return evaluate_rows(
        _rows(shards["labels"]),
        _rows(shards["seeds"]),
        known,
        image_ids=image_ids,
        vocabulary=version["vocabulary"],
        ablation=comparisons() if ablation else None,
        cam=CAM_ONE_SCALE if version["config"]["seeds"]["method"] == "prototypes" else CAM,
    )


def _evaluate_predictions(
    folder: Folder,
    version: dict[str, Any],
    truth: Truth,
    upper_bound: bool,
    address: str | None,
    workers: int | None,
    console: Console | None,
) -> Evaluation:
    from irnet_ray.upper_bound import upper_bound_rows

    images, predictions = (
        Shards(folder.folder("stages", version["stages"][stage]), version["shards"]) for stage in ("images", "labels")
    )
    most = upper_bound_rows(folder.location, truth, address=address, workers=workers, console=console)
    return evaluate_predictions(
        _rows(predictions),
        truth,
        image_ids=_ids(images),
        instances=version["student"]["kind"] == "mask-rcnn",
        upper_bound=most if upper_bound else None,
    )


def _ids(images: Shards) -> set[str]:
    found: set[str] = set()
    for name in images.rows.files():
        found.update(images.rows.read_table(name, columns=["image_id"])["image_id"].to_pylist())
    return found


def _rows(shards: Shards) -> Any:
    for name in shards.rows.files():
        yield from shards.rows.read_table(name).to_pylist()


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
