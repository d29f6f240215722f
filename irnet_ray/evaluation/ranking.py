"""Whether the quality that labels give themselves predicts how well their masks fit the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from irnet_ray.evaluation.average_precision import Prediction
from irnet_ray.evaluation.bootstrap import Figure
from irnet_ray.evaluation.truth import TruthImage


@dataclass(frozen=True, eq=False)
class Ranking:
    """Quality of masks against their IoU with the truth of their class that they overlap most (0 if there is none)."""

    correlation: Figure  # Spearman's, in [-1, 1]
    better: Figure  # mean IoU of the half of the masks with the higher quality
    worse: Figure  # mean IoU of the other half
    masks: int


class RankingMeasure:
    """Collects quality and IoU of masks in `images`, which are numbered in the order of their ids."""

    def __init__(self, images: dict[str, TruthImage]) -> None:
        self.images = images
        self._number = {image_id: number for number, image_id in enumerate(sorted(images))}
        self._rows: list[tuple[int, float, float]] = []  # image, quality, IoU

    def add(self, image_id: str, predictions: Sequence[Prediction], quality: Sequence[float]) -> None:
        """Compare the masks of an image with its truth. `quality` holds one value per mask."""
        from pycocotools import mask as coco

        number, truth = self._number[image_id], self.images[image_id].instances
        for one, value in zip(predictions, quality, strict=True):
            wanted = [t.rle for t in truth if t.class_name == one.class_name and not t.crowd]
            overlaps = coco.iou([one.rle], wanted, [0] * len(wanted)) if wanted else np.zeros(1)
            self._rows.append((number, value, float(np.max(overlaps))))

    def ranking(self, draws_NR: np.ndarray) -> Ranking:
        """The figures in each sample of images; NaN in samples with fewer than two masks."""
        image, quality, iou = np.array(self._rows, float).reshape(-1, 3).T
        values = np.full((3, draws_NR.shape[1]), np.nan)
        for sample, times_N in enumerate(draws_NR.T):
            chosen = np.repeat(np.arange(len(image)), times_N[image.astype(int)])
            values[:, sample] = _figures(quality[chosen], iou[chosen])
        correlation, better, worse = map(Figure, values)
        return Ranking(correlation, better, worse, len(image))


def _figures(quality: np.ndarray, iou: np.ndarray) -> tuple[float, float, float]:
    """Spearman's rank correlation, and mean IoU of the better and of the worse half."""
    from scipy.stats import spearmanr  # late: it takes a second to import, and no other command needs it

    if len(quality) < 2:
        return float("nan"), float("nan"), float("nan")
    order = np.argsort(-quality, kind="stable")
    half = len(order) // 2
    better, worse = float(iou[order[:half]].mean()), float(iou[order[half:]].mean())
    if not np.ptp(quality) or not np.ptp(iou):  # equal values have no ranks, about which scipy warns
        return float("nan"), better, worse
    return float(spearmanr(quality, iou).statistic), better, worse
