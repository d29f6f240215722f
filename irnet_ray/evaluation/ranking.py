"""Whether the quality that a label gives itself tells how well its mask fits the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from irnet_ray.evaluation.average_precision import Prediction
from irnet_ray.evaluation.bootstrap import Figure
from irnet_ray.evaluation.truth import TruthImage


@dataclass(frozen=True, eq=False)
class Ranking:
    """Quality against the IoU of each mask with the truth of its class that it overlaps most (0 without any)."""

    correlation: Figure  # Spearman's, in [-1, 1]
    better: Figure  # mean IoU of the half of the masks with the higher quality
    worse: Figure  # and of the other half
    masks: int


class RankingMeasure:
    """Gathers quality and IoU of masks over `images`, numbered in the order of their sorted ids."""

    def __init__(self, images: dict[str, TruthImage]) -> None:
        self.images = images
        self._number = {image_id: number for number, image_id in enumerate(sorted(images))}
        self._rows: list[tuple[int, float, float]] = []  # image, quality, IoU

    def add(self, image_id: str, predictions: Sequence[Prediction], quality: Sequence[float]) -> None:
        """Compare the masks of an image, each with its quality."""
        from pycocotools import mask as coco

        number, truth = self._number[image_id], self.images[image_id].instances
        for one, value in zip(predictions, quality, strict=True):
            wanted = [t.rle for t in truth if t.class_name == one.class_name and not t.crowd]
            overlaps = coco.iou([one.rle], wanted, [0] * len(wanted)) if wanted else np.zeros(1)
            self._rows.append((number, value, float(np.max(overlaps))))

    def ranking(self, draws_NR: np.ndarray) -> Ranking:
        """The figures in every sample of images, a mask as often as its image; NaN with fewer than two masks."""
        image, quality, iou = np.array(self._rows, float).reshape(-1, 3).T
        values = np.full((3, draws_NR.shape[1]), np.nan)
        for sample, times_N in enumerate(draws_NR.T):
            chosen = np.repeat(np.arange(len(image)), times_N[image.astype(int)])
            values[:, sample] = _figures(quality[chosen], iou[chosen])
        correlation, better, worse = map(Figure, values)
        return Ranking(correlation, better, worse, len(image))


def _figures(quality: np.ndarray, iou: np.ndarray) -> tuple[float, float, float]:
    """Rank correlation, and mean IoU of the better and the worse half; masks of equal quality share their ranks."""
    from scipy.stats import rankdata  # late: a second, for which no other verb should wait

    if len(quality) < 2:
        return float("nan"), float("nan"), float("nan")
    order = np.argsort(-quality, kind="stable")
    half = len(order) // 2
    better, worse = float(iou[order[:half]].mean()), float(iou[order[half:]].mean())
    ranks = np.stack([rankdata(quality), rankdata(iou)])
    spread = ranks.std(axis=1)
    if not spread.all():
        return float("nan"), better, worse
    centered = ranks - ranks.mean(axis=1, keepdims=True)
    return float((centered[0] * centered[1]).mean() / spread.prod()), better, worse
