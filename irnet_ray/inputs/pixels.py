"""Scales samples of more than 8 bits (integers of 16 and 32 bits, floats) to uint8.

A file of 16 bits seldom uses them all: a camera of 12 bits fills 0..4095, a thermal one a few hundred counts. So the
range is chosen in this order, the same rule for every image:

1. a window that somebody gave, for all images alike;
2. the conventional range that holds the samples: 8, 10, 12, 14 or 16 bits, or 0..1 and -1..1 for floats. It does not
   depend on how bright an image is, so that images of one camera stay comparable and a dark frame stays dark;
3. the samples' own range, where they use less than an eighth of the conventional one: by that, the image would be a
   nearly flat gray to the networks.

The few most extreme samples do not count, because one hot pixel would make all others black.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Window = tuple[float, float]  # the sample values that become 0 and 255

BITS = (8, 10, 12, 14, 16)
EXTREME = 10_000  # of so many samples, one at each end does not count
LEAST_SHARE = 1 / 8  # of a conventional range: below it, the image's own range is used
LEAST_WIDTH = 64  # of an own range of integers, in counts: a narrower one would amplify the sensor's noise


class Range(NamedTuple):
    """The range that samples are scaled by, and where it comes from."""

    low: float  # it becomes 0
    high: float  # it becomes 255, and what is just below it too
    name: str  # "12-bit", "0 to 1", "own" or "window"


class Deep(NamedTuple):
    """Samples of an image at their full depth."""

    samples: np.ndarray  # (H, W) or (H, W, 3): uint16, int32, uint32 or float32
    inverted: bool = False  # whether the smallest value is white
    empty: float | None = None  # a value that stands for "no data"


def to_bytes(deep: Deep, window: Window | None = None) -> np.ndarray:
    """Scale samples to uint8 of the same shape; no data, NaN and what lies below the range are 0.

    Raises ValueError if no sample holds a finite value.
    """
    used = chosen_range(deep, window)
    if deep.samples.dtype == np.uint16:  # looked up, which is exact and quick
        scaled = _scaled(np.arange(1 << 16, dtype=np.float32), used)[deep.samples]
    else:
        scaled = np.empty(deep.samples.shape, np.uint8)
        for top in range(0, len(scaled), 512):  # in pieces, because intermediate values take eight times the memory
            piece = deep.samples[top : top + 512]
            scaled[top : top + 512] = _scaled(piece.astype(np.float32 if piece.dtype.kind == "f" else np.float64), used)
    if deep.inverted:
        np.subtract(255, scaled, out=scaled)
    missing = _missing(deep)
    if missing is not None:
        scaled[missing] = 0
    return scaled


def chosen_range(deep: Deep, window: Window | None = None) -> Range:
    """The range that `to_bytes` uses. Raises ValueError if no sample holds a finite value."""
    if window is not None:
        return Range(*window, "window")
    low, high = ends(deep)
    if deep.samples.dtype.kind == "f":
        known = [Range(0, 1, "0 to 1"), Range(-1, 1, "-1 to 1"), *_BIT_RANGES]
    else:
        known = list(_BIT_RANGES)
    fitting = next((one for one in known if one.low <= low and high <= one.high), None)
    if fitting is not None and high - low >= LEAST_SHARE * (fitting.high - fitting.low):
        return fitting
    if high == low:  # nothing to see: by the conventional range, so that it is no darker or brighter than others
        return fitting or Range(low - 1, high + 1, "own")
    if deep.samples.dtype.kind != "f":
        high = max(high, low + LEAST_WIDTH)
    return Range(low, high, "own")


def ends(deep: Deep) -> Window:
    """The smallest and the largest sample, but for the few most extreme ones and those that hold no data.

    Raises ValueError if no sample holds a finite value.
    """
    samples, missing = deep.samples, _missing(deep)
    values = samples.ravel() if missing is None else samples[~missing]
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not values.size:
        raise ValueError("it holds no finite value")
    if values.dtype == np.uint16:
        # The largest value of the type marks saturation, padding or burnt-in letters. It says nothing of the range.
        others = values[values < 0xFFFF]
        values = others if others.size else values
    skipped = max(1, values.size // EXTREME) if values.size >= 16 else 0
    ordered = np.partition(values, (skipped, values.size - 1 - skipped))
    return float(ordered[skipped]), float(ordered[values.size - 1 - skipped])


def _missing(deep: Deep) -> np.ndarray | None:
    """Which samples hold no data, bool, of the samples' shape; None where all do hold some."""
    missing = np.isnan(deep.samples) if deep.samples.dtype.kind == "f" else None
    if deep.empty is not None:
        marked = deep.samples == np.asarray(deep.empty, dtype=np.float32 if missing is not None else np.float64)
        missing = marked if missing is None else missing | marked
    return missing if missing is not None and missing.any() else None


def _scaled(values: np.ndarray, used: Range) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity are dealt with by clipping
        levels = (values - used.low) * (256 / (used.high - used.low))  # rounded down: of 16 bits, the upper 8
        return np.nan_to_num(np.clip(levels, 0, 255)).astype(np.uint8)


_BIT_RANGES = [Range(0, 2**bits, f"{bits}-bit") for bits in BITS]
