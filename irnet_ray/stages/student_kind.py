"""The interfaces of students: a row of `student_kinds.KINDS`, and a trained student. Does not import torch."""

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

    Worker processes import this package again, so they do not know rows that the calling process added. They get the
    kind itself. So its functions must be picklable, and importable where the workers run.
    """

    name: str
    section: str  # its section of the config, a `config.sections.Student`
    says: str  # what it learns in a few words, for `--help`
    # Its training, from a `students.Student`, the labels and their number of images.
    stage: Callable[[Any, LabelRows, int], TrainStage]
    # A trained one, from a `students.Student`, the folder of its weights and whether to use a GPU.
    predictor: Callable[[Any, Folder, bool], Predictor]
    instances: bool  # whether it separates objects of one class
    revision: int = 1  # raise it when the same training or weights give another result; 1 is the result of 0.5.4


class Predictor(Protocol):
    """A trained student on one device."""

    def __call__(self, image_HW3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Masks bool (N, H, W), class numbers (N,), scores (N,) and the semantic map int32 (H, W) of a uint8 image.

        In the semantic map 0 is background and c + 1 is class c.
        """
