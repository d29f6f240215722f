"""Random walk that spreads scores inside class boundaries (paper 5.2; Eq. 12, 13).

Shape legend: C maps; H, W pixels at the network's stride; N = H * W; P offsets.
"""

from functools import lru_cache
from math import comb

import torch
from torch import Tensor

from irnet_ray.algorithms.affinity import affinities, offsets

_TAIL = 1e-5


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
    transition = _Transition(pairs, radius, beta)
    coefficients = _chebyshev_coefficients(steps)
    current = previous = scores.flatten(1)
    result = coefficients[0] * current
    for degree, coefficient in enumerate(coefficients[1:], start=1):
        # T_1 x = T x, then T_k x = 2 T (T_k-1 x) - T_k-2 x
        following = transition(current)
        if degree > 1:
            following.mul_(2).sub_(previous)
        previous, current = current, following
        result.add_(current, alpha=coefficient)
    return result.view_as(scores)


class _Transition:
    """Product with T = S^-1 A^beta (Eq. 12), kept as one weight per pixel and offset.

    In the row-major vector of an image every offset is a shift, so the product is two multiply-adds of
    contiguous vectors per offset; pairs that would leave the image, or wrap around to the next row, have
    weight 0.
    """

    def __init__(self, pairs: Tensor, radius: int, beta: float) -> None:
        height, width = pairs.shape[1:]
        weights = pairs.pow(beta).flatten(1)
        self.pairs = [
            (dy * width + dx, weight[: weight.numel() - dy * width - dx])
            for (dy, dx), weight in zip(offsets(radius), weights, strict=True)
            if dy < height and abs(dx) < width
        ]
        self.inverse_sum = self._gather(pairs.new_ones(1, height * width)).reciprocal_()

    def _gather(self, vectors: Tensor) -> Tensor:
        """(C, N) times A^beta: what each pixel gathers from itself and from both directions of its pairs."""
        total = vectors.clone()
        for shift, weight in self.pairs:
            total[:, :-shift].addcmul_(weight, vectors[:, shift:])
            total[:, shift:].addcmul_(weight, vectors[:, :-shift])
        return total

    def __call__(self, vectors: Tensor) -> Tensor:
        return self._gather(vectors).mul_(self.inverse_sum)


@lru_cache(maxsize=16)
def _chebyshev_coefficients(power: int) -> list[float]:
    """Coefficients of x^power over T_0, T_1, ..., cut where the rest adds up to under 1e-5.

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
