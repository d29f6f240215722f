"""What thresholds are chosen by: how true a confident map is and how much it says, and how good labels are.

Everything is counted image by image, so that any set of images can be scored without looking at a pixel again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from irnet_ray.evaluation.average_precision import Prediction, TruthInstance, area_under_curve, match

BETA = 0.5  # precision counts more than recall
AP_IOU = 0.5
UNSURE = 255  # in a confident map
UNKNOWN = -1  # in a map of truth: inside a crowd


def count_confident(confident_HW: np.ndarray, truth_HW: np.ndarray, class_of_K: np.ndarray) -> np.ndarray:
    """Pixels of an image's confident map: int64 (2, 3), foreground and background by right, said and true.

    Args:
        confident_HW: uint8: 0 background, k the image's tag k, 255 unsure.
        truth_HW: int: 0 background, else the number of a class; -1 unknown, and left out.
        class_of_K: int, the number of the class of tag 1, 2, and so on.
    """
    known = truth_HW != UNKNOWN
    said, truth = confident_HW[known], truth_HW[known]
    classes = np.zeros(UNSURE + 1, np.int64)
    classes[1 : len(class_of_K) + 1] = class_of_K
    foreground = (said > 0) & (said != UNSURE)
    return np.array(
        [
            [np.sum(foreground & (classes[said] == truth)), np.sum(foreground), np.sum(truth > 0)],
            [np.sum((said == 0) & (truth == 0)), np.sum(said == 0), np.sum(truth == 0)],
        ],
        np.int64,
    )


def confident_objective(counts: Iterable[np.ndarray]) -> float:
    """How well the confident maps of some images serve IRNet's training, in [0, 1], from `count_confident` of each.

    F-beta of the foreground (the right tag) and that of the background, averaged. Beta is 0.5, so that precision
    counts more: wrong pixels make wrong pairs, which teach IRNet wrong boundaries, while pixels left unsure make no
    pairs, and other images make up for them. Foreground and background count alike, however many pixels each has.
    """
    right, said, true = np.sum(list(counts), axis=0).T
    # (1 + b^2) P R / (b^2 P + R) with P = right / said and R = right / true; all zeros: nothing to say, none said.
    weight = BETA**2
    below = said + weight * true
    return float(np.mean((1 + weight) * right[below > 0] / below[below > 0])) if below.any() else float("nan")


class LabelCounts(NamedTuple):
    """What is kept of one image's labels."""

    verdicts: Mapping[str, Sequence[tuple[float, bool]]]  # score, and whether it is right, of each class
    truth: Mapping[str, int]  # instances of each class, crowds left out
    pixels: np.ndarray  # int64 (3, classes): right, predicted and true


def count_labels(
    predictions: Sequence[Prediction],
    truth: Sequence[TruthInstance],
    semantic_HW: np.ndarray,
    truth_HW: np.ndarray,
    classes: int,
) -> LabelCounts:
    """Count an image's labels: instances, and semantic maps of numbers in [0, classes), -1 where truth is unknown."""
    verdicts = {}
    for name in {p.class_name for p in predictions}:
        found = sorted((p for p in predictions if p.class_name == name), key=lambda p: -p.score)
        judged = match(found, [t for t in truth if t.class_name == name], AP_IOU)
        verdicts[name] = [(p.score, right) for p, right in zip(found, judged, strict=True) if right is not None]
    known = truth_HW != UNKNOWN
    said, true = semantic_HW[known], truth_HW[known]
    pixels = np.stack([np.bincount(values, minlength=classes) for values in (true[said == true], said, true)])
    return LabelCounts(verdicts, Counter(t.class_name for t in truth if not t.crowd), pixels)


def labels_objective(counts: Sequence[LabelCounts]) -> float:
    """How good the labels of some images are, in [0, 1]: the mean of AP50, over classes, and of mIoU.

    One speaks for instances and the other for pixels, and labels serve both.
    """
    truth: Counter[str] = Counter()
    verdicts: defaultdict[str, list[tuple[float, bool]]] = defaultdict(list)
    for one in counts:
        truth.update(one.truth)
        for name, judged in one.verdicts.items():
            verdicts[name] += judged
    if not truth:
        return float("nan")
    ap50 = np.mean(
        [
            area_under_curve([right for _, right in sorted(verdicts[name], key=lambda verdict: -verdict[0])], count)
            for name, count in truth.items()
        ]
    )
    right, said, true = np.sum([one.pixels for one in counts], axis=0)
    iou = right[true > 0] / (said + true - right)[true > 0]
    return float((ap50 + iou.mean()) / 2)
