"""Bootstrap intervals over images: how much a figure would vary if other images of the same kind were drawn.

Shape suffixes: N images of the truth, R samples of them. Column 0 of `draws_NR` holds each image once; every other
column draws N images with replacement. A figure computed for all columns is its value and its distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure in [0, 1], or a difference or ratio of two."""

    values_R: np.ndarray  # float, of each sample; NaN without truth

    @property
    def value(self) -> float:
        """The figure of the images as they are."""
        return float(self.values_R[0])

    @property
    def interval(self) -> tuple[float, float]:
        """Percentile interval at 95 %, over the resamples in which the figure is not NaN; NaN if it always is."""
        known = self.values_R[1:][~np.isnan(self.values_R[1:])]
        if not known.size:
            return float("nan"), float("nan")
        low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high)

    def __sub__(self, other: Figure) -> Figure:
        """The difference in each sample. Both figures must come from the same draws."""
        return Figure(self.values_R - other.values_R)

    def __truediv__(self, other: Figure) -> Figure:
        """The ratio in each sample, NaN where the other is 0. Both figures must come from the same draws."""
        return Figure(ratio(self.values_R, other.values_R))


def draws(images: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Int32 (N, 1 + resamples): how often each image is in each sample. Equal seeds give equal draws."""
    rng = np.random.default_rng(seed)
    draws_NR = np.ones((images, 1 + resamples), np.int32)
    for column in range(1, 1 + resamples):
        draws_NR[:, column] = np.bincount(rng.integers(images, size=images), minlength=images)
    return draws_NR


def mean_over_classes(values_CR: np.ndarray) -> np.ndarray:
    """Float (R,): mean over the C classes, without those that are NaN in a sample."""
    known = ~np.isnan(values_CR)
    return ratio(np.where(known, values_CR, 0).sum(0), known.sum(0))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Float `part / whole`, NaN where `whole` is 0."""
    quotient = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient
