"""Average precision of instance masks, as PASCAL VOC defines it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    """One true instance; a `crowd` is a region of many: not to be found, and no mistake to have found."""

    image_id: str
    class_name: str
    rle: Rle
    crowd: bool = False


class AveragePrecision:
    """Average precision of each class at one mask IoU, from one image at a time.

    Predictions are matched by descending score, each to the truth of its image and class that it overlaps
    most among those not taken yet, if their IoU is at least `iou`. (VOC's rule, by which a prediction whose
    best truth is taken is false, differs only where true masks overlap.) Only a score and a verdict are kept
    of each.
    """

    def __init__(self, iou: float) -> None:
        self.iou = iou
        self.truth: Counter[str] = Counter()  # instances of each class, crowds left out
        self._verdicts: defaultdict[str, list[tuple[float, str, bool]]] = defaultdict(list)

    def add(self, predictions: Sequence[Prediction], truth: Sequence[TruthInstance]) -> None:
        """Match everything predicted in one image with everything true in it."""
        for name in {p.class_name for p in predictions} | {t.class_name for t in truth}:
            wanted = [t for t in truth if t.class_name == name]
            found = sorted((p for p in predictions if p.class_name == name), key=lambda p: -p.score)
            self.truth[name] += sum(not t.crowd for t in wanted)
            self._verdicts[name] += [
                (p.score, p.image_id, verdict)
                for p, verdict in zip(found, match(found, wanted, self.iou), strict=True)
                if verdict is not None
            ]

    def by_class(self) -> dict[str, float]:
        """Area in [0, 1] under the precision-recall curve of every class that has truth."""
        areas = {}
        for name in sorted(name for name, count in self.truth.items() if count):
            # Equal scores stand in order of image, so that the answer depends on no order of arrival.
            ranked = sorted(self._verdicts[name], key=lambda verdict: (-verdict[0], verdict[1]))
            areas[name] = area_under_curve([true for _, _, true in ranked], self.truth[name])
        return areas


def average_precision(
    predictions: Iterable[Prediction], truth: Iterable[TruthInstance], iou: float
) -> dict[str, float]:
    """AP in [0, 1] of every class that has truth, over all images; see `AveragePrecision`."""
    images: defaultdict[str, tuple[list[Prediction], list[TruthInstance]]] = defaultdict(lambda: ([], []))
    for prediction in predictions:
        images[prediction.image_id][0].append(prediction)
    for instance in truth:
        images[instance.image_id][1].append(instance)
    total = AveragePrecision(iou)
    for found, wanted in images.values():
        total.add(found, wanted)
    return total.by_class()


def match(found: Sequence[Prediction], wanted: Sequence[TruthInstance], iou: float) -> list[bool | None]:
    """Verdict on each prediction of one image and class, in order: true, false, or None (in a crowd)."""
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
        else:  # against a crowd, the overlap is the part of the prediction inside it
            verdicts.append(None if (row[crowds] >= iou).any() else False)
    return verdicts


def area_under_curve(ranked: Sequence[bool], truth: int) -> float:
    """Area under precision over recall of verdicts by descending score; `truth` instances are there to find.

    All-point: precision at a recall is the largest at that recall or a higher one.
    """
    hits = np.asarray(ranked, dtype=bool)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hits].sum() / truth)  # recall moves by 1 / truth at each hit
