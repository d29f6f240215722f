"""The transition matrix as diagonals, against the matrix written out."""

import pytest
import torch

from irnet_ray.algorithms.affinity import affinities, offsets, pair_slices
from irnet_ray.algorithms.transition import Diagonals, shifts_of

RADIUS = 3


def written_out(weights):
    """T of Eq. 12 (N, N), and the sums of its rows before they are divided."""
    height, width = weights.shape[1:]
    numbers = torch.arange(height * width).view(height, width)
    matrix = torch.eye(height * width, dtype=weights.dtype)
    for offset, weight in zip(offsets(RADIUS), weights, strict=True):
        source, target = pair_slices(offset, height, width)
        matrix[numbers[source], numbers[target]] = weight[source]
        matrix[numbers[target], numbers[source]] = weight[source]
    return matrix / matrix.sum(dim=1, keepdim=True), matrix.sum(dim=1)


@pytest.mark.parametrize("low", [-1.0, -0.25])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 2), (5, 8), (40, 41)])  # the last has more than one block
def test_a_product_is_that_of_the_stretched_matrix(size, low):
    generator = torch.Generator().manual_seed(0)
    boundary = torch.rand(size, generator=generator, dtype=torch.float64)
    weights = affinities(boundary, RADIUS, beta=10)
    total, vectors, series = torch.rand(3, 2, boundary.numel(), generator=generator, dtype=torch.float64)
    matrix, sums = written_out(weights)
    stretched = (2 * matrix - (1 + low) * torch.eye(len(matrix))) / (1 - low)
    expected = 0.5 * total + 2 * vectors @ stretched.T
    transition = Diagonals(weights, RADIUS, low)
    made, before = transition.padded(total), series.clone()
    assert transition.advance(made, transition.padded(vectors), 2, 0.5, series, 3) is made
    torch.testing.assert_close(made[:, transition.inside], expected)
    torch.testing.assert_close(series, before + 3 * expected)
    torch.testing.assert_close(transition.sums, sums)


def test_only_offsets_inside_the_image_are_shifts():
    shifts, numbers = shifts_of(2, 2, 1)  # a column of two pixels has one pair
    assert shifts == [1] and [offsets(2)[number] for number in numbers] == [(1, 0)]
