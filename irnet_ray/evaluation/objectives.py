"""The objectives that thresholds are chosen by: one for confident maps, and one for labels.

Counts are kept per image, so that any set of images can be scored without reading pixels again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from irnet_ray.algorithms.maps import UNSURE
from irnet_ray.evaluation.average_precision import AveragePrecision, Prediction, TruthInstance
from irnet_ray.evaluation.mean_iou import IntersectionOverUnion
from irnet_ray.evaluation.truth import UNKNOWN

BETA = 0.5  # of F-beta: precision counts more than recall
AP_IOU = 0.5


def count_confident(confident_HW: np.ndarray, truth_HW: np.ndarray, class_of_K: np.ndarray) -> np.ndarray:
    """Count the pixels of one image's confident map.

    Args:
        confident_HW: uint8: 0 background, k the image's tag k, 255 unsure.
        truth_HW: int: 0 background, else the number of a class. Pixels of `UNKNOWN` do not count.
        class_of_K: int, the numbers of the classes of tag 1, 2, and so on.

    Returns:
        int64 (2, 3): rows are foreground and background; columns are right, predicted and true pixels.
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
    """How well the confident maps of some images can train IRNet, in [0, 1], from `count_confident` of each image.

    It is the mean of two F-betas, one of the foreground (with the right tag) and one of the background, whatever their
    numbers of pixels. Beta is 0.5, so that precision counts more than recall: wrong pixels make wrong pairs, which
    teach IRNet wrong boundaries. Unsure pixels make no pairs, and other images make up for them. NaN without a pixel.
    """
    right, said, true = np.sum(list(counts), axis=0).T
    # (1 + b^2) P R / (b^2 P + R) with P = right / said and R = right / true. A side with neither truth nor predictions
    # does not count.
    weight = BETA**2
    below = said + weight * true
    return float(np.mean((1 + weight) * right[below > 0] / below[below > 0])) if below.any() else float("nan")


class LabelCounts(NamedTuple):
    """What is kept of one image's labels."""

    instances: AveragePrecision
    pixels: IntersectionOverUnion


def count_labels(
    predictions: Sequence[Prediction],
    truth: Sequence[TruthInstance],
    semantic_HW: np.ndarray,
    truth_HW: np.ndarray,
    classes: int,
) -> LabelCounts:
    """Count one image's labels: its instances, and its semantic map, int (H, W) of numbers in [0, classes)."""
    counts = LabelCounts(AveragePrecision(AP_IOU), IntersectionOverUnion(classes))
    counts.instances.add(0, predictions, truth)
    counts.pixels.add(semantic_HW, truth_HW)
    return counts


def labels_objective(counts: Sequence[LabelCounts]) -> float:
    """How good the labels of some images are, in [0, 1]: the mean of AP50 (itself a mean over classes) and mIoU.

    AP50 measures instances and mIoU measures pixels, and labels are used for both. NaN without a true instance.
    """
    instances = AveragePrecision(AP_IOU)
    pixels = IntersectionOverUnion(len(counts[0].pixels.truth) if counts else 0)
    for one in counts:
        instances.merge(one.instances)
        pixels.merge(one.pixels)
    ap50 = [float(area) for (area,) in instances.by_class(np.ones((1, 1), np.int64)).values()]  # all are image 0
    return (sum(ap50) / len(ap50) + pixels.mean()) / 2 if ap50 else float("nan")
