"""Average precision of instance masks, as PASCAL VOC defines it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irnet_ray.evaluation.bootstrap import ratio

BLOCK = 1 << 21  # verdicts times samples that are computed at once: 16 MiB per array

Rle = dict[str, Any]  # COCO's: "size" [height, width] and compressed "counts"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One predicted instance; higher scores are matched first."""

    image_id: str
    class_name: str
    score: float
    rle: Rle


@dataclass(frozen=True, slots=True)
class TruthInstance:
    """One true instance. A `crowd` is a region of many objects: finding it is neither required nor a mistake."""

    image_id: str
    class_name: str
    rle: Rle
    crowd: bool = False


@dataclass
class AveragePrecision:
    """Average precision of each class at one mask IoU, from one image at a time.

    Predictions are matched in order of descending score. Each takes the truth of its image and class that it overlaps
    most, among those that no other prediction has taken, if their IoU is at least `iou`. (By VOC's rule a prediction
    whose best truth is taken is false. The two rules differ only where true masks overlap.) Of each prediction only the
    score and the verdict are kept.
    """

    iou: float
    truth: defaultdict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """By class: an image, and how many instances it holds, crowds left out."""
    verdicts: defaultdict[str, list[tuple[float, int, bool]]] = field(default_factory=lambda: defaultdict(list))
    """By class: score and image of each prediction, and whether it is right."""

    def add(self, image: int, predictions: Sequence[Prediction], truth: Sequence[TruthInstance]) -> None:
        """Match all predictions for image number `image` with its truth."""
        for name in {p.class_name for p in predictions} | {t.class_name for t in truth}:
            wanted = [t for t in truth if t.class_name == name]
            found = sorted((p for p in predictions if p.class_name == name), key=lambda p: -p.score)
            if count := sum(not t.crowd for t in wanted):
                self.truth[name].append((image, count))
            self.verdicts[name] += [
                (p.score, image, verdict)
                for p, verdict in zip(found, match(found, wanted, self.iou), strict=True)
                if verdict is not None
            ]

    def merge(self, other: AveragePrecision) -> None:
        """Add the images of another, at the same IoU."""
        for name, counts in other.truth.items():
            self.truth[name] += counts
        for name, verdicts in other.verdicts.items():
            self.verdicts[name] += verdicts

    def by_class(self, draws_NR: np.ndarray) -> dict[str, np.ndarray]:
        """Area in [0, 1] under the precision-recall curve of every class that has truth, float (R,) for R samples.

        `draws_NR` tells how often each image is in each sample. NaN in samples that hold no truth of a class.
        """
        areas = {}
        for name in sorted(self.truth):
            # Equal scores are sorted by image, so that the result does not depend on the order of `add`.
            ranked = sorted(self.verdicts[name], key=lambda verdict: (-verdict[0], verdict[1]))
            hits = np.array([true for _, _, true in ranked], bool)
            images = np.array([image for _, image, _ in ranked], np.int64)
            where, counts = np.array(self.truth[name]).T
            areas[name] = _areas(hits, images, draws_NR, counts @ draws_NR[where])
        return areas


def match(found: Sequence[Prediction], wanted: Sequence[TruthInstance], iou: float) -> list[bool | None]:
    """Verdict on each prediction of one image and class, in order: right, wrong, or None for one inside a crowd."""
    from pycocotools import mask as coco

    if not found or not wanted:
        return [False] * len(found)
    overlaps = coco.iou([p.rle for p in found], [t.rle for t in wanted], [t.crowd for t in wanted])
    crowds = np.array([t.crowd for t in wanted])
    free = ~crowds
    verdicts: list[bool | None] = []
    for row in overlaps:
        best = int(np.where(free, row, -1.0).argmax())
        if free[best] and row[best] >= iou:
            free[best] = False
            verdicts.append(True)
        else:  # for a crowd, pycocotools returns the share of the prediction that is inside it
            verdicts.append(None if (row[crowds] >= iou).any() else False)
    return verdicts


def area_under_curve(ranked: Sequence[bool], truth: int) -> float:
    """Area in [0, 1] under the precision-recall curve of verdicts, sorted by descending score.

    `truth` is how many instances there are to find. The curve is VOC's all-point curve: precision at a recall is the
    largest precision at that recall or a higher one.
    """
    hits = np.asarray(ranked, dtype=bool)
    once = np.ones((1, 1), np.int64)
    return float(_areas(hits, np.zeros(len(hits), np.int64), once, np.array([truth]))[0])


def _areas(hits_n: np.ndarray, images_n: np.ndarray, draws_NR: np.ndarray, truth_R: np.ndarray) -> np.ndarray:
    """Area under the curve of `hits_n`, sorted by descending score, in each sample of images; NaN without truth.

    An image that is drawn twice contributes each of its verdicts twice, at the same score. Of two equal hits the second
    has the higher precision, which then holds for both. So it is enough to compute precision after the last of them.
    """
    area_R = np.zeros(len(truth_R))
    step = max(1, BLOCK // max(1, len(hits_n)))
    for start in range(0, len(truth_R), step):
        columns = slice(start, start + step)
        drawn_nR = draws_NR[images_n, columns].astype(np.int64)
        hit_nR = drawn_nR * hits_n[:, None]
        precision_nR = hit_nR.cumsum(0) / np.maximum(drawn_nR.cumsum(0), 1)
        envelope_nR = np.maximum.accumulate(precision_nR[::-1], axis=0)[::-1]
        area_R[columns] = (envelope_nR * hit_nR).sum(0)
    return ratio(area_R, truth_R)  # each hit raises recall by 1 / truth
