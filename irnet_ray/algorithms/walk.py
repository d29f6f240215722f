"""Random walk that spreads scores inside class boundaries (paper 5.2; Eq. 12, 13).

Shape legend: C maps; H, W pixels at the network's stride; N = H * W; P offsets.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import comb

import numpy as np
import torch
from scipy.sparse import dia_array
from torch import Tensor

from irnet_ray.algorithms.affinity import affinities, offsets

_TAIL = 5e-5  # of the largest score: a twentieth of what the result may be off by


@torch.no_grad()
def random_walk(scores: Tensor, boundary: Tensor, radius: int = 5, beta: float = 10, steps: int = 256) -> Tensor:
    """Spread scores where no class boundary is in the way: T^steps (scores * (1 - boundary)), Eq. 13.

    scores: float (C, H, W), C may be 0. boundary: float (H, W) in [0, 1] on the same device. Returns
    (C, H, W), float64 if scores are, else float32. T is row-stochastic (Eq. 12): every step replaces a
    pixel by the mean of the pixels within ``radius``, weighted by affinity^beta, itself with weight 1.

    Powers of T are never formed: T is similar to a symmetric matrix, so its spectrum is in [-1, 1] and
    x^steps may be expanded in Chebyshev polynomials, of which those beyond degree ~ 4.5 sqrt(steps) do
    not matter. The work and the memory grow with the number of pixels.

    Raises ValueError for wrong shapes, scores that are not finite, a boundary outside [0, 1] (NaN
    included), beta not above 0, and steps below 0.
    """
    if scores.ndim != 3 or boundary.shape != scores.shape[1:]:
        raise ValueError(
            "scores must be (C, H, W) and boundary (H, W) of the same size, "
            f"got {tuple(scores.shape)} and {tuple(boundary.shape)}."
        )
    _check(scores, beta, steps)
    dtype = _working_type(scores)
    boundary = boundary.to(dtype)
    return _walk(scores.to(dtype) * (1 - boundary), affinities(boundary, radius), radius, beta, steps)


def random_walks(
    scores: Sequence[Tensor], boundaries: Sequence[Tensor], radius: int = 5, beta: float = 10, steps: int = 256
) -> list[Tensor]:
    """`random_walk` of several images of any sizes: the same arguments, one of each per image, and the same answers.

    One image after another: its matrix and maps stay in the processor's cache, which those of several would not.

    Raises ValueError as `random_walk` does, and where there are not as many boundaries as scores.
    """
    return [random_walk(*image, radius, beta, steps) for image in zip(scores, boundaries, strict=True)]


@torch.no_grad()
def affinity_walk(
    scores: Tensor, pair_affinities: Tensor, radius: int = 5, beta: float = 10, steps: int = 256
) -> Tensor:
    """The walk of `random_walk` on affinities of any source: T^steps scores, with nothing taken off the scores.

    scores: float (C, H, W), C may be 0. pair_affinities: float (P, H, W) in [0, 1] on the same device, the
    affinity of each pixel to the one an offset of ``offsets(radius)`` away, 0 where that is outside the image,
    as `affinity.affinities` and `affinity.embedding_affinities` give them. Returns (C, H, W), float64 if
    scores are, else float32.

    Raises ValueError for wrong shapes, scores that are not finite, affinities outside [0, 1] (NaN included),
    beta not above 0, and steps below 0.
    """
    if scores.ndim != 3 or pair_affinities.shape != (len(offsets(radius)), *scores.shape[1:]):
        raise ValueError(
            f"scores must be (C, H, W) and pair_affinities ({len(offsets(radius))}, H, W) of the same size "
            f"at radius {radius}, got {tuple(scores.shape)} and {tuple(pair_affinities.shape)}."
        )
    _check(scores, beta, steps)
    if not ((pair_affinities >= 0) & (pair_affinities <= 1)).all():
        raise ValueError("pair_affinities must be finite and in [0, 1], got values outside it.")
    dtype = _working_type(scores)
    return _walk(scores.to(dtype), pair_affinities.to(dtype), radius, beta, steps)


def _check(scores: Tensor, beta: float, steps: int) -> None:
    if steps < 0 or beta <= 0:
        raise ValueError(f"steps must be 0 or more and beta above 0, got {steps} and {beta}.")
    if not torch.isfinite(scores).all():
        raise ValueError("scores must be finite, got NaN or infinity: look for it in the network's output.")


def _working_type(scores: Tensor) -> torch.dtype:
    return torch.float64 if scores.dtype == torch.float64 else torch.float32


def _walk(scores: Tensor, pairs: Tensor, radius: int, beta: float, steps: int) -> Tensor:
    """T^steps scores, both arguments of one dtype."""
    if not scores.numel():
        return scores
    transition = (_Diagonals if scores.device.type == "cpu" else _Shifts)(pairs.pow(beta), radius)
    coefficients = _chebyshev_coefficients(steps)
    current = scores.flatten(1).clone(memory_format=torch.contiguous_format)
    previous = current.clone()
    result = coefficients[0] * current
    for degree, coefficient in enumerate(coefficients[1:], start=1):
        # T_1 x = T x, then T_k x = 2 T (T_k-1 x) - T_k-2 x
        factors = (1, 0) if degree == 1 else (2, -1)
        previous, current = current, transition.add_product(previous, current, *factors)
        result.add_(current, alpha=coefficient)
    return result.view_as(scores)


class _Diagonals:
    """Product with T = S^-1 A^beta (Eq. 12) as SciPy's matrix of 2 P + 1 diagonals, for processors.

    An offset is a diagonal, so no number needs its column, and a map goes through at a time: it and a diagonal stay in
    the processor's cache. Vectors are (C, N). Pairs that leave the image keep their place, with weight 0.
    """

    def __init__(self, weights: Tensor, radius: int) -> None:
        height, width = weights.shape[1:]
        shifts, used = _shifts(radius, height, width)
        # In an image narrower than the disc two offsets are one diagonal.
        ends = torch.tensor([0, *shifts, *(-shift for shift in shifts)])
        ends, place = torch.unique(ends, return_inverse=True)
        values = weights.new_zeros(len(ends), height * width)
        values[place[0]] = 1
        to_next, to_previous = place[1:].chunk(2)
        for number, (shift, weight) in enumerate(zip(shifts, weights.flatten(1)[used], strict=True)):
            values[to_next[number]] += weight
            values[to_previous[number], shift:] += weight[:-shift]
        values /= values.sum(dim=0)
        # SciPy keeps a diagonal by columns. What it rolls around the end is 0.
        by_column = torch.stack([value.roll(end) for value, end in zip(values, ends.tolist(), strict=True)]).numpy()
        self.matrix = dia_array((by_column, ends.numpy()), shape=(values.shape[1],) * 2)
        # What rounding leaves over would add up over the steps: the product of ones is to be ones.
        by_column[place[0]] += 1 - self.matrix @ np.ones_like(by_column[0])

    def add_product(self, total: Tensor, vectors: Tensor, factor: float, keep: float) -> Tensor:
        """keep * total + factor * T vectors, in place of ``total``."""
        total.mul_(keep)
        for row, vector in zip(total, vectors.numpy(), strict=True):
            row.add_(torch.from_numpy(self.matrix @ vector), alpha=factor)
        return total


class _Shifts:
    """The same product as one weight per pixel and offset, on any device.

    In the row-major vector of an image every offset is a shift, so the product is two multiply-adds of
    contiguous vectors per offset; pairs that would leave the image, or wrap around to the next row, have
    weight 0. Vectors are (C, N).
    """

    def __init__(self, weights: Tensor, radius: int) -> None:
        height, width = weights.shape[1:]
        shifts, used = _shifts(radius, height, width)
        self.pairs = [(shift, weight[:-shift]) for shift, weight in zip(shifts, weights.flatten(1)[used], strict=True)]
        self.inverse_sum = self._gather(weights.new_ones(1, height * width)).reciprocal_()

    def add_product(self, total: Tensor, vectors: Tensor, factor: float, keep: float) -> Tensor:
        """keep * total + factor * T vectors, in place of ``total``."""
        return total.mul_(keep).addcmul_(self._gather(vectors), self.inverse_sum, value=factor)

    def _gather(self, vectors: Tensor) -> Tensor:
        """(C, N) times A^beta: what each pixel gathers from itself and from both directions of its pairs."""
        total = vectors.clone()
        for shift, weight in self.pairs:
            total[:, :-shift].addcmul_(weight, vectors[:, shift:])
            total[:, shift:].addcmul_(weight, vectors[:, :-shift])
        return total


def _shifts(radius: int, height: int, width: int) -> tuple[list[int], list[int]]:
    """Of the offsets that fit into the image: how far each is in its row-major vector, and its number."""
    fitting = [
        (dy * width + dx, number) for number, (dy, dx) in enumerate(offsets(radius)) if dy < height and abs(dx) < width
    ]
    return [shift for shift, _ in fitting], [number for _, number in fitting]


@lru_cache(maxsize=16)
def _chebyshev_coefficients(power: int) -> list[float]:
    """Coefficients of x^power over T_0, T_1, ..., cut where the rest adds up to under 5e-5.

    x^n = 2^-n sum_k C(n, k) T_|n - 2k|. What is kept is scaled to sum to 1, which keeps the eigenvalue 1 of
    the walk exact: a constant stays constant.
    """
    full = [0.0] * (power + 1)
    for k in range(power + 1):
        full[abs(power - 2 * k)] += comb(power, k) / 2**power
    degree, tail = power, 0.0
    while tail + full[degree] <= _TAIL:
        tail += full[degree]
        degree -= 1
    kept = full[: degree + 1]
    return [coefficient / sum(kept) for coefficient in kept]
