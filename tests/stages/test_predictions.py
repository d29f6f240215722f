"""The stage that predicts images with a trained student of any kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from irnet_ray import tables
from irnet_ray.config.load import Config
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.stages import predictions
from irnet_ray.stages.rows import Predicted
from irnet_ray.stages.student_kinds import KINDS
from irnet_ray.stages.students import Student


def test_the_stage_asks_the_student_s_kind_for_the_predictor(tmp_path: Path) -> None:
    """The kind travels with the stage, so a kind that the table does not have works too."""
    asked: list[tuple[str, str, bool]] = []

    def predictor(student: Student, folder: Folder, gpu: bool) -> Any:
        asked.append((student.kind.name, folder.location, gpu))
        size = (4, 6)
        answer = (np.ones((1, *size), bool), np.array([1]), np.array([0.5]), np.full(size, 2, np.int32))
        return lambda image_HW3: answer

    kind = replace(KINDS["deeplab"], name="own", predictor=predictor)
    student = Student(kind, Config(), ("cat", "dog"), "0123")
    weights, images = Folder(str(tmp_path / "model")), Shards(Folder(str(tmp_path / "images")), 2)
    stage = predictions.stage(student, weights, images, "mark")
    assert (stage.schema, stage.sources) == (tables.LABELS, (images,))
    network = stage.network(False)
    assert asked == [("own", weights.location, False)]
    found = network({"image_id": "a.jpg"}, np.zeros((4, 6, 3), np.uint8))
    assert isinstance(found, Predicted)
    row = stage.finish({"image_id": "a.jpg", "tags": [], "width": 12, "height": 8}, found)
    assert (row["tags"], row["fingerprint"], row["instances"][0]["area"]) == (["dog"], "mark", 96)
