"""The transition matrix of the random walk, T = S^-1 A^beta (Eq. 12), as a product with vectors, for CPUs.

In the row-major vector of an image every offset is a shift. So T has 2 P + 1 diagonals, and needs no column indices.
T may be stretched so that its eigenvalues from ``low`` to 1 fill -1 to 1: (2 T - (1 + low)) / (1 - low).

Shape legend: C vectors; H, W pixels; N = H * W; P offsets; D diagonals.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from irnet_ray.algorithms.affinity import offsets

_BLOCK = 1024  # pixels of a vector that stay in the first-level cache while all diagonals pass
_TOGETHER = 4  # diagonals per read and write of a sum
_LINE = 16  # numbers per cache line; every diagonal starts at one


class Diagonals:
    """T as its diagonals. The product is compiled once per process and dtype."""

    def __init__(self, weights: Tensor, radius: int, low: float = -1) -> None:
        """Weights: float (P, H, W), affinity^beta of the pairs of `offsets(radius)`."""
        height, width = weights.shape[1:]
        pixels = height * width
        shifts, used = shifts_of(radius, height, width)
        # In an image narrower than the disc two offsets share a diagonal.
        ends, place = torch.unique(torch.tensor([0, *shifts, *(-shift for shift in shifts)]), return_inverse=True)
        # The padding diagonals are 0.
        all_values = weights.new_zeros(_up(len(ends), _TOGETHER), _up(pixels, _LINE))
        values = all_values[:, :pixels]
        values[place[0]] = 1
        to_next, to_previous = place[1:].chunk(2)
        for number, (shift, weight) in enumerate(zip(shifts, weights.flatten(1)[used], strict=True)):
            values[to_next[number]] += weight
            values[to_previous[number], shift:] += weight[:-shift]
        self.sums = values.sum(dim=0)
        values.mul_((2 / (1 - low)) / self.sums)
        values[place[0]] -= (1 + low) / (1 - low)
        self.values, self.ends = all_values.numpy(), np.zeros(len(all_values), np.int64)
        self.ends[: len(ends)] = ends.numpy()
        self.margin = int(ends[-1])
        self.inside = slice(self.margin, self.margin + pixels)
        # T must map ones to ones exactly: a rounding error would grow with every step.
        left = weights.new_ones(1, pixels)
        ones = self.padded(left)
        self.advance(ones.clone(), ones, 1, 0, left, -1)
        values[place[0]] += left[0]

    def padded(self, vectors: Tensor) -> Tensor:
        """A copy of (C, N) with zeros at both ends, for offsets that leave the image."""
        return torch.nn.functional.pad(vectors, (self.margin, self.margin))

    def advance(
        self, total: Tensor, vectors: Tensor, factor: float, keep: float, series: Tensor, coefficient: float
    ) -> Tensor:
        """Set ``total`` to keep * total + factor * T vectors, and add ``coefficient`` times that to ``series``.

        ``total`` and ``vectors`` are padded; ``series`` (C, N) is not.
        """
        kind = self.values.dtype.type
        _advance(
            total.numpy()[:, self.inside],
            vectors.numpy(),
            series.numpy(),
            self.values,
            self.ends + self.margin,
            kind(factor),
            kind(keep),
            kind(coefficient),
        )
        return total


def _up(count: int, step: int) -> int:
    return -(-count // step) * step


@numba.njit(fastmath={"contract", "reassoc"}, nogil=True)
def _advance(
    total: NDArray[np.floating],
    vectors: NDArray[np.floating],
    series: NDArray[np.floating],
    values: NDArray[np.floating],
    starts: NDArray[np.int64],
    factor: float,
    keep: float,
    coefficient: float,
) -> None:  # pragma: no cover, compiled
    """total, series (C,N). Diagonal d of `values` (D,>=N) multiplies the padded `vectors` from `starts[d]` on."""
    summed = np.empty(_BLOCK, total.dtype)
    for first in range(0, total.shape[1], _BLOCK):
        size = min(_BLOCK, total.shape[1] - first)
        block = slice(first, first + size)
        for row in range(len(total)):
            vector = vectors[row, first:]
            summed[:] = 0
            for d in range(0, len(starts), _TOGETHER):
                w0, w1, w2, w3 = values[d, block], values[d + 1, block], values[d + 2, block], values[d + 3, block]
                v0 = vector[starts[d] : starts[d] + size]
                v1 = vector[starts[d + 1] : starts[d + 1] + size]
                v2 = vector[starts[d + 2] : starts[d + 2] + size]
                v3 = vector[starts[d + 3] : starts[d + 3] + size]
                for i in range(size):
                    summed[i] += w0[i] * v0[i] + w1[i] * v1[i] + w2[i] * v2[i] + w3[i] * v3[i]
            for i in range(size):
                new = keep * total[row, first + i] + factor * summed[i]
                total[row, first + i] = new
                series[row, first + i] += coefficient * new


def shifts_of(radius: int, height: int, width: int) -> tuple[list[int], list[int]]:
    """For the offsets that fit into the image: their shifts in its row-major vector, and their numbers."""
    fitting = [
        (dy * width + dx, number) for number, (dy, dx) in enumerate(offsets(radius)) if dy < height and abs(dx) < width
    ]
    return [shift for shift, _ in fitting], [number for _, number in fitting]
