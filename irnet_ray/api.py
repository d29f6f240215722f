"""The verbs of the command line as Python functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from irnet_ray.config import load_config
from irnet_ray.errors import UserError
from irnet_ray.evaluation.evaluate import evaluate_predictions, evaluate_rows
from irnet_ray.evaluation.result import CAM, CAM_ONE_SCALE, Evaluation
from irnet_ray.evaluation.truth import Truth, load_truth
from irnet_ray.inputs.folder import read_folder
from irnet_ray.inputs.scenes import generate
from irnet_ray.inputs.storage import absolute
from irnet_ray.labeling import relabel_hint, run_plan
from irnet_ray.lock import hold
from irnet_ray.object_store import is_uri
from irnet_ray.run import Folder, Shards, writable
from irnet_ray.run import finished as finished
from irnet_ray.stages.plan import Plan
from irnet_ray.stages.students import KINDS
from irnet_ray.students import train

SCENES = "scenes"


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
    classifier: str | None = None,
    preset: str | None = None,
    workers: int | None = None,
    limit: int | None = None,
    then: Sequence[str] = (),
    address: str | None = None,
    console: Console | None = None,
) -> LabelResult:
    """Label every image of `data` from its tags alone; what an earlier run has done is not done again.

    Args:
        data: a folder of images with `tags.csv`, or what else docs/inputs.md lists; None for generated scenes.
        out: the run directory.
        shards: Parquet files per table.
        backbone: `resnet50` or `lite0`, over the config's.
        weights: path of the backbone's ImageNet weights, over the config's.
        config: YAML or JSON file of knobs.
        seeds: `prototypes`, `correlation` or `cam`: how seeds are made, over the config's.
        classifier: `pretrained` for the backbone's own ImageNet classifier, where tags are its classes.
        preset: `paper` for the published pipeline, under the config's own values.
        workers: training workers and network actors; None for all GPUs, or else a network actor per core.
        limit: label only the first so many images.
        then: students to train on the labels, in order: `mask-rcnn`, `deeplab`.
        address: a Ray cluster; None for `RAY_ADDRESS`, else a local Ray for this call.
        console: where the plan and the progress go.

    Raises:
        UserError: bad input, said in one sentence, before anything is computed.
    """
    console = console or Console()
    if classifier not in (None, "pretrained"):
        raise UserError(f"No classifier {classifier!r}: there is pretrained; without --classifier one is trained.")
    pretrained = {"pretrained": True if classifier else None}
    overrides = {"backbone": backbone, "weights": weights, "classifier": pretrained, "seeds": {"method": seeds}}
    knobs = load_config(Path(config) if config else None, overrides, data is None, preset)
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}.")
    if shards < 1:
        raise UserError(f"--shards must be at least 1, got {shards}.")
    for kind in then:
        if kind not in KINDS:
            raise UserError(f"No student {kind!r}: --then takes {' and '.join(KINDS)}, separated by a comma.")
    if data is None and is_uri(str(out)):
        raise UserError(f"Generated scenes need a local --out, and {out} is in an object store: name images by --data.")
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
        plan = Plan(folder, knobs, read_folder(data, shards, limit), shards)
        plan.check_usable(str(data))
        folder.write_json("config.json", knobs.model_dump(mode="json"))
        hint = relabel_hint(plan)
        if hint is not None:
            console.print(hint, highlight=False, soft_wrap=True, markup=False)
        place = {"folder": absolute(data), "limit": limit}
        report = run_plan(plan, place, workers, address, console)
        students = [train(kind, out, config=config, workers=workers, address=address, console=console) for kind in then]
    counts = (report["images"], report["labels"], report["errors"], report["overall"]["instances"])
    models = tuple(student.model for student in students)
    return LabelResult(folder.location, plan.version, *counts, truth, report, models)


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
        workers: for these two, training workers and network actors; None for all GPUs, else an actor per core.
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
