"""Bootstrap intervals over images: what a figure would have been, had other images of the same kind been drawn.

N images of the truth; R samples of them. In `draws_NR` column 0 is the images as they are, each once, and
the others draw N with replacement. A figure of all columns at once is a figure and its distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure in [0, 1], or a difference or ratio of two; NaN without truth. `values_R` is float, of every sample."""

    values_R: np.ndarray

    @property
    def value(self) -> float:
        """Of the images as they are."""
        return float(self.values_R[0])

    @property
    def interval(self) -> tuple[float, float]:
        """Percentile interval at 95 %, over the resamples in which the figure is defined; NaN where it never is."""
        known = self.values_R[1:][~np.isnan(self.values_R[1:])]
        if not known.size:
            return float("nan"), float("nan")
        low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high)

    def __sub__(self, other: Figure) -> Figure:
        """The difference in every sample; both figures must come from the same draws."""
        return Figure(self.values_R - other.values_R)

    def __truediv__(self, other: Figure) -> Figure:
        """The ratio in every sample, NaN where the other is 0; both figures must come from the same draws."""
        return Figure(ratio(self.values_R, other.values_R))


def draws(images: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Int32 (N, 1 + resamples): how often each image stands in each sample. One seed, one answer."""
    rng = np.random.default_rng(seed)
    draws_NR = np.ones((images, 1 + resamples), np.int32)
    for column in range(1, 1 + resamples):
        draws_NR[:, column] = np.bincount(rng.integers(images, size=images), minlength=images)
    return draws_NR


def mean_over_classes(values_CR: np.ndarray) -> np.ndarray:
    """Float (R,): mean over the C classes, those that are NaN in a sample left out of its mean."""
    known = ~np.isnan(values_CR)
    return ratio(np.where(known, values_CR, 0).sum(0), known.sum(0))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Float `part / whole`, NaN where `whole` is 0."""
    quotient = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient
