import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irnet_ray.algorithms import walk
from irnet_ray.algorithms.affinity import affinities, offsets, pair_slices
from tests.algorithms.published import affinity_walk, random_walk


@pytest.mark.parametrize("size", ["24x32", "33x47", "48x64"])
def test_the_walk_is_the_published_one(reference, size):
    expected = reference(f"label_{size}")
    ours = random_walk(torch.from_numpy(expected["cam"]), torch.from_numpy(expected["edge"][0]))
    worst = abs(ours.numpy() - expected["random_walk"]).max()
    assert worst < 1e-3 * expected["random_walk"].max()


def transition_matrix(boundary: Tensor, radius: int, beta: float) -> Tensor:
    """T of Eq. 12, written out (N, N)."""
    return transition_from(affinities(boundary, radius) ** beta, radius)


def transition_from(weights: Tensor, radius: int) -> Tensor:
    height, width = weights.shape[1:]
    numbers = torch.arange(height * width).view(height, width)
    matrix = torch.eye(height * width, dtype=weights.dtype)
    for offset, weight in zip(offsets(radius), weights, strict=True):
        source, target = pair_slices(offset, height, width)
        matrix[numbers[source], numbers[target]] = weight[source]
        matrix[numbers[target], numbers[source]] = weight[source]
    return matrix / matrix.sum(dim=1, keepdim=True)


@pytest.mark.parametrize("steps", [0, 1, 2, 3, 10, 256])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 2), (11, 13)])
def test_the_walk_is_that_many_plain_steps(size, steps):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(3, *size, generator=generator, dtype=torch.float64)
    boundary = torch.rand(size, generator=generator, dtype=torch.float64) ** 3
    transition = transition_matrix(boundary, 5, 10)
    expected = (scores * (1 - boundary)).flatten(1)
    for _ in range(steps):
        expected = expected @ transition.T
    ours = random_walk(scores, boundary, steps=steps)
    # Of few steps no term is left out.
    tolerance = 1e-12 if steps <= 3 else 1.5e-4
    torch.testing.assert_close(ours, expected.view_as(scores), rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_transition_with_eigenvalues_near_minus_one_walks_as_well(dtype):
    # Pairs of the two colours of a chessboard alone: almost all of a score changes its colour at every step.
    pairs = affinities(torch.zeros(8, 9, dtype=dtype), 5)
    for number, (dy, dx) in enumerate(offsets(5)):
        pairs[number] *= (dy + dx) % 2
    scores = torch.rand(3, 8, 9, dtype=dtype)
    assert not walk._expanded(scores.flatten(1), pairs, 5, 25, walk._LOW)[1]
    transition = transition_from(pairs, 5)
    assert torch.linalg.eigvals(transition).real.min() < -0.8
    expected = (scores.flatten(1) @ transition.T.matrix_power(25)).view_as(scores)
    torch.testing.assert_close(affinity_walk(scores, pairs, steps=25), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("steps", [0, 1, 5, 256, 10_000])
def test_the_series_is_the_power(steps):
    for low in (walk._LOW, -1.0):
        x = torch.linspace(low, 1, 501, dtype=torch.float64)
        series = np.polynomial.chebyshev.chebval(
            (2 * x - 1 - low) / (1 - low), walk._chebyshev_coefficients(steps, low)
        )
        torch.testing.assert_close(series, x**steps, rtol=0, atol=1.5e-4)


def images(seed: int, maps: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    height, width = torch.randint(1, 12, (2,), generator=generator).tolist()
    scores = torch.rand(maps, height, width, generator=generator, dtype=torch.float64)
    return scores, torch.rand(height, width, generator=generator, dtype=torch.float64) ** 2


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 64))
def test_rows_of_the_transition_sum_to_one(seed, steps):
    _, boundary = images(seed, 0)
    scores = 1 / (1 - boundary[None])
    torch.testing.assert_close(random_walk(scores, boundary, steps=steps), torch.ones_like(scores))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_flips_and_transposes_commute_with_the_walk(seed):
    scores, boundary = images(seed, 2)
    result = random_walk(scores, boundary)
    for axis in (-1, -2):
        torch.testing.assert_close(random_walk(scores.flip(axis), boundary.flip(axis)), result.flip(axis))
    torch.testing.assert_close(random_walk(scores.mT, boundary.mT), result.mT)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_the_walk_is_linear_in_the_scores(seed, factor):
    scores, boundary = images(seed, 2)
    first, second = random_walk(scores, boundary)
    both = random_walk(scores[:1] + factor * scores[1:], boundary)[0]
    torch.testing.assert_close(both, first + factor * second)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9))
def test_a_closed_boundary_keeps_what_is_inside_inside(top, left, height, width):
    boundary = torch.zeros(16, 16)
    boundary[top : top + height + 2, left : left + width + 2] = 1
    inside = torch.zeros(16, 16, dtype=torch.bool)
    inside[top + 1 : top + 1 + height, left + 1 : left + 1 + width] = True
    boundary[inside] = 0
    result = random_walk(inside[None].float(), boundary)[0]
    torch.testing.assert_close(result[inside], torch.ones(height * width))
    assert (result[~inside] == 0).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 64))
def test_boundaries_walk_as_the_affinities_they_stand_for(seed, radius, steps):
    scores, boundary = images(seed, 2)
    expected = random_walk(scores, boundary, radius=radius, beta=7, steps=steps)
    walked = affinity_walk(scores * (1 - boundary), affinities(boundary, radius), radius=radius, beta=7, steps=steps)
    # The power is taken of different arrays, whose last few elements torch rounds differently.
    torch.testing.assert_close(walked, expected, rtol=1e-5, atol=1e-6)


def test_affinities_of_any_source_are_walked_on_alike():
    # A full affinity everywhere is a plain blur; none keeps every pixel to itself. Nothing is taken off the scores.
    scores = torch.rand(2, 6, 7)
    none = torch.zeros(34, 6, 7)
    torch.testing.assert_close(affinity_walk(scores, none), scores)
    everywhere = affinities(torch.zeros(6, 7), 5)
    spread = affinity_walk(torch.ones(1, 6, 7), everywhere)
    torch.testing.assert_close(spread, torch.ones(1, 6, 7))
    before = everywhere.clone()
    affinity_walk(scores, everywhere, beta=3)
    assert torch.equal(everywhere, before)


def test_affinities_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"pair_affinities \(34, H, W\) .* at radius 5, got .* and \(12, 4, 5\)"):
        affinity_walk(torch.zeros(1, 4, 5), torch.zeros(12, 4, 5))
    with pytest.raises(ValueError, match=r"pair_affinities must be finite and in \[0, 1\]"):
        affinity_walk(torch.zeros(1, 4, 5), torch.full((34, 4, 5), torch.nan))
    with pytest.raises(ValueError, match="steps must be 0 or more and beta above 0, got -1 and 10"):
        affinity_walk(torch.zeros(1, 4, 5), torch.zeros(34, 4, 5), steps=-1)


def test_no_maps_and_half_precision():
    assert random_walk(torch.zeros(0, 6, 7), torch.zeros(6, 7)).shape == (0, 6, 7)
    half = random_walk(torch.ones(1, 6, 7, dtype=torch.bfloat16), torch.zeros(6, 7, dtype=torch.bfloat16))
    assert half.dtype == torch.float32


def test_arguments_are_left_as_they_were():
    scores, boundary = torch.rand(2, 6, 7), torch.rand(6, 7)
    before = scores.clone(), boundary.clone()
    random_walk(scores, boundary)
    affinity_walk(scores[:1], affinities(boundary, 5))
    assert torch.equal(scores, before[0]) and torch.equal(boundary, before[1])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="scores must be finite"):
        random_walk(torch.full((1, 4, 5), value), torch.zeros(4, 5))
    with pytest.raises(ValueError, match="boundary must be finite"):
        random_walk(torch.zeros(1, 4, 5), torch.full((4, 5), value))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"got \(1, 4, 5\) and \(5, 4\)"):
        random_walk(torch.zeros(1, 4, 5), torch.zeros(5, 4))
    with pytest.raises(ValueError, match="steps must be 0 or more and beta above 0, got -1 and 10"):
        random_walk(torch.zeros(1, 4, 5), torch.zeros(4, 5), steps=-1)
    with pytest.raises(ValueError, match="steps must be 0 or more and beta above 0, got 256 and 0"):
        random_walk(torch.zeros(1, 4, 5), torch.zeros(4, 5), beta=0)


PEAK = """
import re, torch
from functools import partial
from irnet_ray.algorithms.walk import random_walk
random_walk = partial(random_walk, radius=5, beta=10, steps=256)
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
torch.set_num_threads(1)
random_walk(torch.rand(5, 8, 8), torch.rand(8, 8))
before = peak()
result = random_walk(torch.rand(5, 375, 375), torch.rand(375, 375))
assert result.shape == (5, 375, 375)
print((peak() - before) * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_a_photo_of_1500_pixels_walks_within_a_gigabyte():
    # ru_maxrss would start at the size of this process, which the new one is forked from; VmHWM starts anew.
    run = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 1e9


@pytest.mark.gpu
def test_the_gpu_walks_like_the_cpu():
    scores, boundary = torch.rand(3, 40, 50), torch.rand(40, 50)
    on_gpu = random_walk(scores.cuda(), boundary.cuda())
    torch.testing.assert_close(on_gpu.cpu(), random_walk(scores, boundary), rtol=0, atol=1e-4)
