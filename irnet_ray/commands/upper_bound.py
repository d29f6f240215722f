"""The upper bound of a student: the same student trained on truth, by cross-validation (paper 6.3, Tables 3 and 4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from irnet_ray.commands.predict import Prediction
from irnet_ray.commands.train import Training
from irnet_ray.errors import UserError
from irnet_ray.evaluation.truth import Truth
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.lock import hold
from irnet_ray.runs.run import FinishedRun
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Predictor
from irnet_ray.stages.label_rows import LabelRows
from irnet_ray.stages.student_kinds import load_student
from irnet_ray.stages.students import Student
from irnet_ray.stages.truth_labels import write_truth

Row = dict[str, Any]
FOLDS = 3


def upper_bound_rows(
    run: FinishedRun,
    made_by: Predictor,
    truth: Truth,
    *,
    address: str | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> Iterator[Row]:
    """Predictions, rows of `tables.LABELS`, for each image with truth, by a student trained on the truth of others.

    The images are divided into folds by their ids. For each fold, a student of the same kind, backbone and knobs is
    trained for as many iterations on the other folds, and predicts this one. Work that an earlier call finished is not
    repeated.

    Args:
        run: of a student's predictions.
        made_by: that student.
        truth: of some images of the run.
        address, workers, console: as for `evaluate`.

    Raises:
        UserError: the student's record is gone, or too few images have truth.
    """
    console = console or Console()
    folder = run.folder
    model = Folder(made_by.model)
    # Fewer images have truth than labels, so the same number of epochs would be a shorter training.
    history = model.read_json("history.json")
    known = load_student(model).trained_for(history[-1]["iteration"] if history else 0)
    images = _images(run.shards("images"), truth)
    parts = write_truth(folder, images, truth.images, FOLDS)  # needs no lock: the folder is named by its content
    names = parts.rows.files()
    if any(not parts.rows.count_rows([name]) for name in names):
        raise UserError(f"An upper bound needs truth of more than {len(images)} images: some in each of {FOLDS} folds.")
    student = Student(known.kind, known.config, known.vocabulary, parts.folder.name)
    folds = [_Fold(folder, student, parts, names, number, images) for number in range(FOLDS)]
    if not all(fold.is_done for fold in folds):
        from irnet_ray.engine.session import session

        with hold(folder), session(address) as devices:
            devices.check(workers)
            for fold in folds:
                fold.run(devices, workers, console)
    for fold in folds:
        yield from fold.rows()


class _Fold:
    """One fold: the student that is trained on the other folds, and its predictions for this one."""

    def __init__(
        self, out: Folder, student: Student, parts: Shards, names: list[str], number: int, images: pa.Table
    ) -> None:
        others = [name for name in names if name != parts.part(number)]
        rows = LabelRows.of(student.knobs, parts.rows, others)
        folder = out.folder("stages", f"{student.kind.name}-{student.fingerprint(others)}")
        self.training = Training(student, rows, folder)
        self.out, self.title = out, f"fold {number + 1} of {FOLDS}"
        ids = parts.rows.read_table(parts.part(number), columns=["image_id"])["image_id"]
        self.images = images.filter(pc.is_in(images["image_id"], ids.combine_chunks()))

    @property
    def prediction(self) -> Prediction:
        table = self.images.set_column(self.images.schema.get_field_index("shard"), "shard", _zeros(len(self.images)))
        return Prediction(self.out, self.training.student, self.training.folder, table, 1)

    @property
    def is_done(self) -> bool:
        return self.training.is_done and self.prediction.is_done

    def run(self, devices: Any, workers: int | None, console: Console) -> None:
        console.print(f"upper bound, {self.title}", highlight=False)
        if not self.training.is_done:
            self.training.run(devices, workers, console)
        if not self.prediction.is_done:
            self.prediction.run(devices, workers)

    def rows(self) -> Iterator[Row]:
        labels = self.prediction.shards("labels")
        yield from labels.rows.read_table(labels.part(0)).to_pylist()


def _images(images: Shards, truth: Truth) -> pa.Table:
    """The rows of the images table whose image has truth."""
    table = images.table()
    return table.filter(pc.is_in(table["image_id"], pa.array(sorted(truth.images)))).combine_chunks()


def _zeros(count: int) -> pa.Array:
    return pa.array([0] * count, pa.int32())
