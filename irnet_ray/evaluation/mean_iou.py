"""Intersection over union of semantic maps."""

from __future__ import annotations

import numpy as np

from irnet_ray.evaluation.truth import UNKNOWN


class IntersectionOverUnion:
    """IoU of each class over all pixels of all images. Memory grows with the number of classes, not its square."""

    def __init__(self, classes: int) -> None:
        """Maps hold numbers in [0, classes). Pixels whose truth is `UNKNOWN` do not count."""
        self.intersection = np.zeros(classes, np.int64)
        self.predicted = np.zeros(classes, np.int64)
        self.truth = np.zeros(classes, np.int64)

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Count one image: two integer maps (H, W).

        Raises:
            ValueError: their shapes differ, or they hold a number that is not a class.
        """
        if predicted.shape != truth.shape:
            raise ValueError(f"Expected two maps of one shape, got {predicted.shape} and {truth.shape}.")
        kept = truth != UNKNOWN
        predicted, truth = predicted[kept].astype(np.int64), truth[kept].astype(np.int64)
        classes = len(self.truth)
        for values in (predicted, truth):
            if values.size and not (values.min() >= 0 and values.max() < classes):
                raise ValueError(f"Expected class numbers in [0, {classes}), got {values.min()} to {values.max()}.")
        self.intersection += np.bincount(truth[predicted == truth], minlength=classes)
        self.predicted += np.bincount(predicted, minlength=classes)
        self.truth += np.bincount(truth, minlength=classes)

    def merge(self, other: IntersectionOverUnion) -> None:
        """Add the counts of other images, of the same classes."""
        self.intersection += other.intersection
        self.predicted += other.predicted
        self.truth += other.truth

    def by_class(self) -> np.ndarray:
        """Float (classes,) in [0, 1]; NaN for a class without truth."""
        union = self.predicted + self.truth - self.intersection
        iou = np.full(len(union), np.nan)
        np.divide(self.intersection, union, out=iou, where=self.truth > 0)
        return iou

    def mean(self) -> float:
        """Mean over the classes that have truth, background included; NaN before any pixel is counted."""
        iou = self.by_class()
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")
