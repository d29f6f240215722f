"""Compare a run's labels or predictions with the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from irnet_ray.algorithms.seed_methods import METHODS
from irnet_ray.classes import Classes
from irnet_ray.errors import UserError
from irnet_ray.evaluation.evaluate import evaluate_predictions, evaluate_rows
from irnet_ray.evaluation.result import CAM, CAM_ONE_SCALE, Evaluation
from irnet_ray.evaluation.truth import Truth, load_truth
from irnet_ray.evaluation.truth_classes import fit_truth, run_classes
from irnet_ray.inputs.classes_file import read_classes
from irnet_ray.runs.run import FinishedRun
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Predictor
from irnet_ray.stages.student_kinds import find_kind


def evaluate(
    out: str | Path,
    truth: str | Path,
    ablation: bool = False,
    upper_bound: bool = False,
    *,
    synonyms: str | Path | None = None,
    address: str | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Compare a run's labels and its raw CAMs with the truth in a COCO JSON file.

    Args:
        out: the run directory, of labels or of a student's predictions.
        truth: the file of instances; images are matched by file name.
        ablation: for labels, also compare with labels made without the displacement field and with those of
            AffinityNet (paper 6.2), and use the CAM over all scales. What is missing is computed on Ray, including
            AffinityNet's training.
        upper_bound: for predictions, train the same student on truth, by cross-validation, and tell what share of its
            figures the predictions reach (paper 6.3).
        synonyms: a file with other spellings of the run's classes; None for those that the run was made with.
        address: for these two, a Ray cluster; None for `RAY_ADDRESS`, else a local Ray for this call.
        workers: for these two, training workers and network actors; None for all GPUs, or for an actor per core
            without one.
        console: where these two report what they did.

    Raises:
        UserError: no finished run, no such truth, or none of its images in the run.
    """
    known = load_truth(Path(truth))
    run = FinishedRun.open(out)
    image_ids = image_ids_of(run.shards("images"))
    known, notes = fit_truth(known, classes_of(run, synonyms), image_ids, str(truth))
    if run.version.student is not None:
        if ablation:
            raise UserError(f"{out} holds a student's predictions: the ablation needs a labeling run.")
        found = _evaluate_predictions(
            run, run.version.student, known, image_ids, upper_bound, address, workers, console
        )
        return replace(found, notes=notes)
    if upper_bound:
        raise UserError(f"{out} holds labels: the upper bound needs a student's predictions, see `irnet-ray predict`.")

    def comparisons() -> Iterator[dict[str, Any]]:  # read last: a truth that does not fit trains nothing
        from irnet_ray.commands.ablation import ablation_rows

        wanted = sorted(image_ids & known.images.keys())
        yield from ablation_rows(out, wanted, address=address, workers=workers, console=console)

    found = evaluate_rows(
        _rows(run.shards("labels")),
        _rows(run.shards("seeds")),
        known,
        image_ids=image_ids,
        vocabulary=run.vocabulary,
        ablation=comparisons() if ablation else None,
        cam=CAM_ONE_SCALE if METHODS[run.config.seeds.method].one_scale else CAM,
    )
    return replace(found, names=run.version.names, notes=notes)


def _evaluate_predictions(
    run: FinishedRun,
    student: Predictor,
    truth: Truth,
    image_ids: set[str],
    upper_bound: bool,
    address: str | None,
    workers: int | None,
    console: Console | None,
) -> Evaluation:
    from irnet_ray.commands.upper_bound import upper_bound_rows

    most = upper_bound_rows(run, student, truth, address=address, workers=workers, console=console)
    return evaluate_predictions(
        _rows(run.shards("labels")),
        truth,
        image_ids=image_ids,
        instances=find_kind(student.kind).instances,
        upper_bound=most if upper_bound else None,
    )


def classes_of(run: FinishedRun, synonyms: str | Path | None) -> Classes:
    """The classes of a run with other spellings, those of a file or of the run itself. Raises UserError."""
    given = run.version.synonyms if synonyms is None else read_classes(None, synonyms).synonyms
    return run_classes(run.vocabulary, run.version.names, given)


def image_ids_of(images: Shards) -> set[str]:
    """Ids of all images in a run's images table."""
    found: set[str] = set()
    for name in images.rows.files():
        found.update(images.rows.read_table(name, columns=["image_id"])["image_id"].to_pylist())
    return found


def _rows(shards: Shards) -> Any:
    for name in shards.rows.files():
        yield from shards.rows.read_table(name).to_pylist()
