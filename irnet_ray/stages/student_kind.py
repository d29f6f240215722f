"""What a kind of student is, and what a trained one does. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np

    from irnet_ray.engine.task import TrainStage
    from irnet_ray.runs.folder import Folder
    from irnet_ray.stages.label_rows import LabelRows


@dataclass(frozen=True)
class Kind:
    """One kind of student.

    Worker processes import this package anew, and so do not know a row that the calling process added. They get the
    kind itself: its functions must be picklable, and importable where the workers run.
    """

    name: str
    section: str  # of the config, a `config.sections.Student`
    says: str  # in a few words, for `--help`
    # A `students.Student`, the labels, and how many images they are of, to the training.
    stage: Callable[[Any, LabelRows, int], TrainStage]
    # A `students.Student`, the folder of its weights, and whether a GPU is there, to the trained student.
    predictor: Callable[[Any, Folder, bool], Predictor]
    instances: bool  # whether it tells objects of one class apart
    revision: int = 1  # raise it when the same training or the same weights give another answer; 1 is that of 0.5.4


class Predictor(Protocol):
    """A trained student on one device."""

    def __call__(self, image_HW3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Masks bool (N, H, W), class numbers (N,), scores (N,) and the semantic map int32 (H, W) of a uint8 image.

        In the semantic map 0 is background and c + 1 class c.
        """
