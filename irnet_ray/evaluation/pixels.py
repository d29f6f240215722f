"""IoU, precision and recall of semantic maps, over samples of images."""

from __future__ import annotations

import numpy as np

from irnet_ray.evaluation.bootstrap import ratio
from irnet_ray.evaluation.mean_iou import IntersectionOverUnion


class PixelCounts:
    """Right, predicted and true pixels of each class in each image. An image's absent classes take no memory."""

    def __init__(self, classes: int) -> None:
        """Maps hold numbers in [0, classes), where 0 is background. Pixels whose truth is unknown do not count."""
        self.classes = classes
        self._images: list[np.ndarray] = []
        self._classes: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []  # int64 (3, k): right, predicted, true

    def add(self, image: int, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Count image number `image`: two integer maps (H, W). Raises ValueError as `IntersectionOverUnion.add`."""
        one = IntersectionOverUnion(self.classes)
        one.add(predicted, truth)
        held = np.flatnonzero(one.predicted + one.truth)
        self._images.append(np.full(len(held), image))
        self._classes.append(held)
        self._counts.append(np.stack([one.intersection, one.predicted, one.truth])[:, held])

    def iou(self, draws_NR: np.ndarray) -> np.ndarray:
        """Float (classes, R) in [0, 1], over the pixels of all images; NaN for a class without truth."""
        right, predicted, true = self._totals(draws_NR)
        return ratio(right, np.where(true > 0, predicted + true - right, 0))

    def precision(self, draws_NR: np.ndarray) -> np.ndarray:
        """Float (R,): share of the predicted foreground pixels whose class is right."""
        right, predicted, _ = self._totals(draws_NR)
        return ratio(right[1:].sum(0), predicted[1:].sum(0))

    def recall(self, draws_NR: np.ndarray) -> np.ndarray:
        """Float (R,): share of the true foreground pixels whose predicted class is right."""
        right, _, true = self._totals(draws_NR)
        return ratio(right[1:].sum(0), true[1:].sum(0))

    def _totals(self, draws_NR: np.ndarray) -> np.ndarray:
        """Float (3, classes, R): right, predicted and true pixels of each class in each sample of images."""
        from scipy.sparse import csr_array

        if not self._images:
            return np.zeros((3, self.classes, draws_NR.shape[1]))
        where = (np.concatenate(self._classes), np.concatenate(self._images))
        shape = (self.classes, len(draws_NR))
        # Float64 is exact for counts up to 9e15.
        counts = np.concatenate(self._counts, axis=1).astype(np.float64)
        return np.stack([csr_array((row, where), shape) @ draws_NR for row in counts])
