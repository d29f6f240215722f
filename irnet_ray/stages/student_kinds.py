"""The kinds of students by name: how each is trained, and how a trained one predicts.

Adding one takes a row here, its network and task in modules of their own, and a section of `config/sections.py` for its
knobs. Importing this module does not import torch: `--help` needs the names alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from irnet_ray.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from irnet_ray.engine.task import TrainStage
    from irnet_ray.runs.folder import Folder
    from irnet_ray.stages.label_rows import LabelRows
    from irnet_ray.stages.students import Student


@dataclass(frozen=True)
class Kind:
    """One kind of student.

    Worker processes import this package anew, and so do not know a row that the calling process added. They get the
    kind itself: its functions must be picklable, and importable where the workers run.
    """

    name: str
    section: str  # of the config, a `config.sections.Student`
    says: str  # in a few words, for `--help`
    stage: Callable[[Student, LabelRows, int], TrainStage]  # the training on so many images
    predictor: Callable[
        [Student, Folder, bool], Predictor
    ]  # from the folder of the weights, and whether a GPU is there
    instances: bool  # whether it tells objects of one class apart
    revision: int = 1  # raise it when the same training or the same weights give another answer; 1 is that of 0.5.4


class Predictor(Protocol):
    """A trained student on one device."""

    def __call__(self, image_HW3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Masks bool (N, H, W), class numbers (N,), scores (N,) and the semantic map int32 (H, W) of a uint8 image.

        In the semantic map 0 is background and c + 1 class c.
        """


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
    """A row of `KINDS`. Raises UserError for another name."""
    if name not in KINDS:
        raise UserError(f"No student {name!r}: there is {' and '.join(KINDS)}.")
    return KINDS[name]
