"""Intersection over union of semantic maps."""

from __future__ import annotations

import numpy as np


class IntersectionOverUnion:
    """IoU of each class over all pixels of all images; memory grows with the classes, not their square."""

    def __init__(self, classes: int, ignore: int = 255) -> None:
        """Maps hold numbers in [0, classes); pixels whose truth is `ignore` do not count."""
        self.ignore = ignore
        self.intersection = np.zeros(classes, np.int64)
        self.predicted = np.zeros(classes, np.int64)
        self.truth = np.zeros(classes, np.int64)

    def add(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Count one image: two integer maps (H, W). Raises ValueError where they do not fit."""
        if predicted.shape != truth.shape:
            raise ValueError(f"Expected two maps of one shape, got {predicted.shape} and {truth.shape}.")
        kept = truth != self.ignore
        predicted, truth = predicted[kept].astype(np.int64), truth[kept].astype(np.int64)
        classes = len(self.truth)
        for values in (predicted, truth):
            if values.size and not (values.min() >= 0 and values.max() < classes):
                raise ValueError(f"Expected class numbers in [0, {classes}), got {values.min()} to {values.max()}.")
        self.intersection += np.bincount(truth[predicted == truth], minlength=classes)
        self.predicted += np.bincount(predicted, minlength=classes)
        self.truth += np.bincount(truth, minlength=classes)

    def by_class(self) -> np.ndarray:
        """Float (classes,) in [0, 1]; NaN for a class that no truth holds."""
        union = self.predicted + self.truth - self.intersection
        iou = np.full(len(union), np.nan)
        np.divide(self.intersection, union, out=iou, where=self.truth > 0)
        return iou

    def mean(self) -> float:
        """Mean over the classes that truth holds, background included; NaN before any pixel."""
        iou = self.by_class()
        return float(np.nanmean(iou)) if np.isfinite(iou).any() else float("nan")
