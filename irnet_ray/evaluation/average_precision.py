"""Average precision of instance masks, as PASCAL VOC defines it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irnet_ray.evaluation.bootstrap import ratio

BLOCK = 1 << 21  # verdicts times samples at once: 16 MiB an array

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
        self._truth: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        self._verdicts: defaultdict[str, list[tuple[float, int, bool]]] = defaultdict(list)

    def add(self, image: int, predictions: Sequence[Prediction], truth: Sequence[TruthInstance]) -> None:
        """Match everything predicted in image number `image` with everything true in it."""
        for name in {p.class_name for p in predictions} | {t.class_name for t in truth}:
            wanted = [t for t in truth if t.class_name == name]
            found = sorted((p for p in predictions if p.class_name == name), key=lambda p: -p.score)
            if count := sum(not t.crowd for t in wanted):
                self._truth[name].append((image, count))
            self._verdicts[name] += [
                (p.score, image, verdict)
                for p, verdict in zip(found, match(found, wanted, self.iou), strict=True)
                if verdict is not None
            ]

    def by_class(self, draws_NR: np.ndarray) -> dict[str, np.ndarray]:
        """Area in [0, 1] under the precision-recall curve of every class that has truth, in R samples of images.

        `draws_NR` says how often each image stands in each sample; (R,) is NaN where none of a class's truth does.
        """
        areas = {}
        for name in sorted(self._truth):
            # Equal scores stand in order of image, so that the answer depends on no order of arrival.
            ranked = sorted(self._verdicts[name], key=lambda verdict: (-verdict[0], verdict[1]))
            hits = np.array([true for _, _, true in ranked], bool)
            images = np.array([image for _, image, _ in ranked], np.int64)
            where, counts = np.array(self._truth[name]).T
            areas[name] = _areas(hits, images, draws_NR, counts @ draws_NR[where])
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
    for number, image_id in enumerate(sorted(images)):
        total.add(number, *images[image_id])
    return {name: float(area) for name, (area,) in total.by_class(np.ones((len(images), 1), np.int32)).items()}


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
    once = np.ones((1, 1), np.int64)
    return float(_areas(hits, np.zeros(len(hits), np.int64), once, np.array([truth]))[0])


def _areas(hits_n: np.ndarray, images_n: np.ndarray, draws_NR: np.ndarray, truth_R: np.ndarray) -> np.ndarray:
    """Area under the curve of `hits_n`, by descending score, in every sample of images; NaN without truth.

    An image drawn twice brings each of its verdicts twice, at the same score. The second of two equal hits has
    the higher precision, which is then the precision of both: precision after the last of them is all it takes.
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
    return ratio(area_R, truth_R)  # recall moves by 1 / truth at each hit
