"""The transition matrix of the random walk, T = S^-1 A^beta (Eq. 12), as a product with vectors, for GPUs.

The same product as `transition.Diagonals` in one Triton kernel. T x is x plus the weighted mean of a pixel's
differences to its neighbours in both directions. So T is never built, and equal numbers stay equal despite rounding.

Shape legend: C vectors; H, W pixels; N = H * W; P offsets.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from irnet_ray.algorithms.transition import shifts_of

_BLOCK = 128  # pixels per program: small, so that a photo's few thousand pixels occupy every multiprocessor


class Stencil:
    """T, stretched as in `transition.Diagonals`.

    Pairs that leave the image, or wrap around to the next row, must have weight 0.
    """

    inside = slice(None)

    def __init__(self, weights: Tensor, radius: int, low: float = -1) -> None:
        """Weights: float (P, H, W), affinity^beta of the pairs of `offsets(radius)`."""
        height, width = weights.shape[1:]
        shifts, used = shifts_of(radius, height, width)
        self.weights = weights.flatten(1)[used].contiguous()
        self.shifts = torch.tensor(shifts, dtype=torch.int64, device=weights.device)
        self.sums = weights.new_ones(height * width)
        self.stretch = 2 / (1 - low)
        if shifts:
            _add_sums[self._grid(height * width)](
                self.sums, self.weights, self.shifts, len(self.sums), len(shifts), _BLOCK
            )

    @staticmethod
    def _grid(pixels: int) -> tuple[int]:
        return (triton.cdiv(pixels, _BLOCK),)

    def padded(self, vectors: Tensor) -> Tensor:
        """A copy of (C, N). This form needs no padding."""
        return vectors.clone(memory_format=torch.contiguous_format)

    def advance(
        self, total: Tensor, vectors: Tensor, factor: float, keep: float, series: Tensor, coefficient: float
    ) -> Tensor:
        """Set ``total`` to keep * total + factor * T vectors, and add ``coefficient`` times that to ``series``.

        All are (C, N) and contiguous.
        """
        maps, pixels = total.shape
        _advance[(*self._grid(pixels), maps)](
            total,
            vectors,
            series,
            self.weights,
            self.shifts,
            self.sums,
            pixels,
            self.stretch,
            factor,
            keep,
            coefficient,
            len(self.shifts),
            _BLOCK,
        )
        return total


@triton.jit
def _add_sums(  # type: ignore[no-untyped-def]
    sums, weights, shifts, pixels, pairs: tl.constexpr, block: tl.constexpr
):  # pragma: no cover, compiled
    """Add the weights of each pixel's pairs to `sums` (N,)."""
    pixel = tl.program_id(0) * block + tl.arange(0, block)
    inside = pixel < pixels
    total = tl.load(sums + pixel, inside)
    for pair in range(pairs):
        shift = tl.load(shifts + pair)
        total += tl.load(weights + pair * pixels + pixel, inside, other=0)
        total += tl.load(weights + pair * pixels + pixel - shift, inside & (pixel >= shift), other=0)
    tl.store(sums + pixel, total, inside)


@triton.jit
def _advance(  # type: ignore[no-untyped-def]
    total,
    vectors,
    series,
    weights,
    shifts,
    sums,
    pixels,
    stretch,
    factor,
    keep,
    coefficient,
    pairs: tl.constexpr,
    block: tl.constexpr,
):  # pragma: no cover, compiled
    """One block of pixels of one vector."""
    pixel = tl.program_id(0) * block + tl.arange(0, block)
    inside = pixel < pixels
    here = tl.program_id(1).to(tl.int64) * pixels + pixel
    vector = tl.load(vectors + here, inside)
    moved = tl.zeros_like(vector)
    for pair in range(pairs):
        shift = tl.load(shifts + pair)
        after, before = inside & (pixel + shift < pixels), inside & (pixel >= shift)
        to_next = tl.load(weights + pair * pixels + pixel, after, other=0)
        moved += to_next * (tl.load(vectors + here + shift, after, other=0) - vector)
        to_previous = tl.load(weights + pair * pixels + pixel - shift, before, other=0)
        moved += to_previous * (tl.load(vectors + here - shift, before, other=0) - vector)
    product = vector + stretch * moved / tl.load(sums + pixel, inside, other=1)
    new = factor * product + keep * tl.load(total + here, inside)
    tl.store(total + here, new, inside)
    tl.store(series + here, tl.load(series + here, inside) + coefficient * new, inside)
