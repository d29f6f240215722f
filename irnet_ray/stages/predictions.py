"""Predict every image with a trained student. Rows have the schema of labels."""

from __future__ import annotations

from functools import partial

import numpy as np

from irnet_ray import tables
from irnet_ray.engine.mapping import MapStage
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.images import load
from irnet_ray.stages.rows import Predicted, predictions_row
from irnet_ray.stages.students import Student
from irnet_ray.tables import Row


def stage(student: Student, folder: Folder, images: Shards, fingerprint: str) -> MapStage:
    """Predict every image. `folder` holds the student's weights; `fingerprint` goes into each row."""
    return MapStage(
        name="predict",
        schema=tables.LABELS,
        sources=(images,),
        load=partial(load, max_side=student.config.max_side, window=student.config.window),
        network=partial(StudentNetwork, student, folder),
        finish=partial(predictions_row, student.vocabulary, fingerprint),
    )


class StudentNetwork:
    """A trained student of any kind on one device."""

    def __init__(self, student: Student, folder: Folder, gpu: bool) -> None:
        self.predict = student.kind.predictor(student, folder, gpu)

    def __call__(self, row: Row, image_HW3: np.ndarray) -> Predicted:
        """The prediction for one image, from its pixels only."""
        return Predicted(*self.predict(image_HW3))
