"""The kinds of students by name: how each is trained, and how a trained one predicts.

To add a kind, add a row here, modules for its network and its task, and a section for its knobs in
`config/sections.py`. Importing this module does not import torch: `--help` only needs the names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from irnet_ray.errors import UserError
from irnet_ray.stages.student_kind import Kind, Predictor

if TYPE_CHECKING:
    from irnet_ray.engine.task import TrainStage
    from irnet_ray.runs.folder import Folder
    from irnet_ray.stages.label_rows import LabelRows
    from irnet_ray.stages.students import Student


def _mask_rcnn(student: Student, rows: LabelRows, images: int) -> TrainStage:
    from irnet_ray.stages import mask_rcnn

    return mask_rcnn.stage(student, rows, images)


def _mask_rcnn_predictor(student: Student, folder: Folder, gpu: bool) -> Predictor:
    from irnet_ray.stages.mask_rcnn import MaskRCNNPredictor

    return MaskRCNNPredictor(student, folder, gpu)


def _deeplab(student: Student, rows: LabelRows, images: int) -> TrainStage:
    from irnet_ray.stages import deeplab

    return deeplab.stage(student, rows, images)


def _deeplab_predictor(student: Student, folder: Folder, gpu: bool) -> Predictor:
    from irnet_ray.stages.deeplab import DeepLabPredictor

    return DeepLabPredictor(student, folder, gpu)


KINDS = {
    kind.name: kind
    for kind in (
        Kind("mask-rcnn", "mask_rcnn", "instances", _mask_rcnn, _mask_rcnn_predictor, instances=True),
        Kind("deeplab", "deeplab", "semantic maps", _deeplab, _deeplab_predictor, instances=False),
    )
}


def find_kind(name: str) -> Kind:
    """A row of `KINDS`. Raises UserError for an unknown name."""
    if name not in KINDS:
        raise UserError(f"No student {name!r}: there is {' and '.join(KINDS)}.")
    return KINDS[name]


def load_student(folder: Folder) -> Student:
    """Read the record of a trained student. Raises UserError if it cannot be read, or there are no weights."""
    from irnet_ray.config.load import Config
    from irnet_ray.runs.run import WEIGHTS
    from irnet_ray.stages.students import RECORD, Student

    try:
        record = folder.read_json(RECORD)
    except ValueError as error:
        raise UserError(f"{folder.location}/{RECORD} is not a model record: train the student again.") from error
    if record is None or not folder.exists(WEIGHTS):
        raise UserError(
            f"No trained student in {folder.location}: name a folder that `irnet-ray train` wrote, "
            "such as OUT/models/mask-rcnn."
        )
    try:
        config, vocabulary = Config.model_validate(record["config"]), tuple(record["vocabulary"])
        kind, labels, synonyms = str(record["kind"]), record["labels"], dict(record.get("synonyms", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder.location}/{RECORD} cannot be read by this version: train the student again."
        ) from error
    if kind not in KINDS:
        raise UserError(f"{folder.location} holds a {kind!r}: expected one of {', '.join(KINDS)}.")
    return Student(KINDS[kind], config, vocabulary, labels, synonyms)
