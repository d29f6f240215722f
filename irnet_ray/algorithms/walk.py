"""Random walk that spreads scores inside class boundaries (paper 5.2; Eq. 12, 13).

Shape legend: C maps; H, W pixels at the network's stride; N = H * W; P offsets.
"""

from __future__ import annotations

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

_TAIL = 1e-4  # share of the largest score that may be cut off: a tenth of the error that the result may have
_LOW = -0.25  # the eigenvalues of photos' transitions begin at -0.16
_GROWN = 1.01  # growth of a vector's squared length that shows an eigenvalue below


@torch.no_grad()
def random_walk(scores: Tensor, boundary: Tensor, *, radius: int, beta: float, steps: int) -> Tensor:
    """Spread scores up to class boundaries: T^steps (scores * (1 - boundary)), Eq. 13.

    scores: float (C, H, W), C may be 0. boundary: float (H, W) in [0, 1] on the same device. Returns
    (C, H, W), float64 if scores are, else float32. T is row-stochastic (Eq. 12): every step replaces a
    pixel by the mean of the pixels within ``radius``, weighted by affinity^beta, itself with weight 1.

    Powers of T are never formed. T is similar to a symmetric matrix, so its eigenvalues are real, and x^steps can be
    expanded in the Chebyshev polynomials of an interval that holds them. Degrees beyond about 3 sqrt(steps) do not
    matter. Work and memory are linear in the number of pixels.

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


@torch.no_grad()
def affinity_walk(scores: Tensor, pair_affinities: Tensor, *, radius: int, beta: float, steps: int) -> Tensor:
    """The walk of `random_walk` on any affinities: T^steps scores. Scores are not reduced at boundaries.

    scores: float (C, H, W), C may be 0. pair_affinities: float (P, H, W) in [0, 1] on the same device, as
    returned by `affinity.affinities` and `affinity.embedding_affinities`: of each pixel to the one an offset of
    ``offsets(radius)`` away, 0 if that is outside the image. Returns (C, H, W), float64 if scores are, else float32.

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
    """T^steps scores, from the pairs' affinities^beta of the same dtype."""
    if not scores.numel():
        return scores
    walked, whole = _expanded(scores.flatten(1), weights, radius, steps, _LOW)
    if not whole:
        walked, _ = _expanded(scores.flatten(1), weights, radius, steps, -1.0)
    return walked.view_as(scores)


def _expanded(start: Tensor, weights: Tensor, radius: int, steps: int, low: float) -> tuple[Tensor, bool]:
    """T^steps of vectors (C, N), and whether it is right: no eigenvalue of T that matters is below ``low``."""
    transition = transition_for(start.device)(weights, radius, low)
    coefficients = _chebyshev_coefficients(steps, low)
    current, previous = transition.padded(start), transition.padded(start)
    result = coefficients[0] * start
    for degree, coefficient in enumerate(coefficients[1:], start=1):
        # T_1 x = T x, then T_k x = 2 T (T_k-1 x) - T_k-2 x
        factors = (1, 0) if degree == 1 else (2, -1)
        previous, current = current, transition.advance(previous, current, *factors, result, coefficient)
    # In the norm in which T is symmetric, no polynomial of the series lengthens a vector if all eigenvalues are within
    # [low, 1]. An eigenvalue below lengthens it, the more the higher the degree; the cut-off terms then matter, too.
    first, last = ((vectors.square() @ transition.sums).sum() for vectors in (start, current[:, transition.inside]))
    return result, bool(last <= _GROWN * first)


def transition_for(device: torch.device) -> type[Diagonals | Stencil]:
    """The implementation of T for a device."""
    if device.type == "cpu":
        return Diagonals
    from irnet_ray.algorithms.stencil import Stencil  # Triton is installed only with GPUs

    return Stencil


@lru_cache(maxsize=16)
def _chebyshev_coefficients(power: int, low: float) -> list[float]:
    """Coefficients of x^power in the Chebyshev polynomials of [low, 1], cut off when the rest sums to less than 1e-4.

    They are scaled to sum to 1. That keeps the walk's eigenvalue 1 exact, so a constant stays constant.
    """
    degree = min(power, 16 + 8 * isqrt(power))  # twice the degree that is kept
    full = Chebyshev.interpolate(lambda x: x**power, degree, domain=[low, 1]).coef
    rest = np.cumsum(np.abs(full[::-1]))[::-1]  # sum from each degree on
    kept = full[rest > _TAIL]
    return list((kept / kept.sum()).tolist())
