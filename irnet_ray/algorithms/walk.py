"""Random walk that spreads scores inside class boundaries (paper 5.2; Eq. 12, 13).

Shape legend: C maps; H, W pixels at the network's stride; N = H * W; P offsets.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.polynomial import Chebyshev
from torch import Tensor

from irnet_ray.algorithms.affinity import affinities, offsets
from irnet_ray.algorithms.transition import Diagonals

if TYPE_CHECKING:
    from irnet_ray.algorithms.stencil import Stencil

_TAIL = 1e-4  # of the largest score: a tenth of what the result, whose largest score is less, may be off by
_LOW = -0.25  # photos' transitions have eigenvalues from -0.16
_GROWN = 1.01  # the squared length of a vector that an eigenvalue below has lengthened, times what it was


@torch.no_grad()
def random_walk(scores: Tensor, boundary: Tensor, radius: int = 5, beta: float = 10, steps: int = 256) -> Tensor:
    """Spread scores where no class boundary is in the way: T^steps (scores * (1 - boundary)), Eq. 13.

    scores: float (C, H, W), C may be 0. boundary: float (H, W) in [0, 1] on the same device. Returns
    (C, H, W), float64 if scores are, else float32. T is row-stochastic (Eq. 12): every step replaces a
    pixel by the mean of the pixels within ``radius``, weighted by affinity^beta, itself with weight 1.

    Powers of T are never formed: T is similar to a symmetric matrix, so its eigenvalues are real, and x^steps may
    be expanded in the Chebyshev polynomials of the interval that holds them, of which those beyond degree
    ~ 3 sqrt(steps) do not matter. The work and the memory grow with the number of pixels.

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
    return _walk(scores.to(dtype) * (1 - boundary), affinities(boundary, radius, beta), radius, steps)


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
    return _walk(scores.to(dtype), pair_affinities.to(dtype).pow(beta), radius, steps)


def _check(scores: Tensor, beta: float, steps: int) -> None:
    if steps < 0 or beta <= 0:
        raise ValueError(f"steps must be 0 or more and beta above 0, got {steps} and {beta}.")
    if not torch.isfinite(scores).all():
        raise ValueError("scores must be finite, got NaN or infinity: look for it in the network's output.")


def _working_type(scores: Tensor) -> torch.dtype:
    return torch.float64 if scores.dtype == torch.float64 else torch.float32


def _walk(scores: Tensor, weights: Tensor, radius: int, steps: int) -> Tensor:
    """T^steps scores, from the pairs' affinities^beta, both of one dtype."""
    if not scores.numel():
        return scores
    walked, whole = _expanded(scores.flatten(1), weights, radius, steps, _LOW)
    if not whole:
        walked, _ = _expanded(scores.flatten(1), weights, radius, steps, -1.0)
    return walked.view_as(scores)


def _expanded(start: Tensor, weights: Tensor, radius: int, steps: int, low: float) -> tuple[Tensor, bool]:
    """T^steps of vectors (C, N), and whether no eigenvalue of T that matters is below ``low``: else it is wrong."""
    transition = transition_for(start.device)(weights, radius, low)
    coefficients = _chebyshev_coefficients(steps, low)
    current, previous = transition.padded(start), transition.padded(start)
    result = coefficients[0] * start
    for degree, coefficient in enumerate(coefficients[1:], start=1):
        # T_1 x = T x, then T_k x = 2 T (T_k-1 x) - T_k-2 x
        factors = (1, 0) if degree == 1 else (2, -1)
        previous, current = current, transition.advance(previous, current, *factors, result, coefficient)
    # Polynomials of the series lengthen no vector by eigenvalues within [low, 1], in the norm in which T is symmetric.
    # By one below they do, the more the higher the degree, and so does what is cut off.
    first, last = ((vectors.square() @ transition.sums).sum() for vectors in (start, current[:, transition.inside]))
    return result, bool(last <= _GROWN * first)


def transition_for(device: torch.device) -> type[Diagonals | Stencil]:
    """The form of T for a device."""
    if device.type == "cpu":
        return Diagonals
    from irnet_ray.algorithms.stencil import Stencil  # Triton is there, and loaded, only where it is used

    return Stencil


@lru_cache(maxsize=16)
def _chebyshev_coefficients(power: int, low: float) -> list[float]:
    """Coefficients of x^power over the Chebyshev polynomials of [low, 1], cut where the rest adds up to under 1e-4.

    What is kept is scaled to sum to 1, which keeps the eigenvalue 1 of the walk exact: a constant stays constant.
    """
    degree = min(power, 16 + 8 * isqrt(power))  # double what is kept
    full = Chebyshev.interpolate(lambda x: x**power, degree, domain=[low, 1]).coef
    rest = np.cumsum(np.abs(full[::-1]))[::-1]  # of each degree and those above
    kept = full[rest > _TAIL]
    return list((kept / kept.sum()).tolist())
