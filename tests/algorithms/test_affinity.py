import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irnet_ray.algorithms.affinity import affinities, embedding_affinities, line_maxima, offsets, pair_slices

SIZES = ["24x32", "33x47", "48x64"]


@pytest.mark.parametrize("radius", [5, 10])
@pytest.mark.parametrize("size", SIZES)
def test_offsets_and_affinities_are_the_published_ones(reference, size, radius):
    expected = reference(f"label_{size}")
    boundary = torch.from_numpy(expected["edge"][0])
    height, width = boundary.shape
    order = [tuple(offset) for offset in expected[f"offsets_r{radius}"].tolist()]
    assert sorted(order) == sorted(offsets(radius))
    inside = np.s_[:, : height - radius + 1, radius - 1 : width - radius + 1]
    ours = affinities(boundary, radius)[inside].numpy()
    ours = ours[[offsets(radius).index(offset) for offset in order]]
    np.testing.assert_allclose(ours, expected[f"affinity_r{radius}"], atol=1e-6)


def test_every_pair_of_the_disc_is_listed_once():
    for radius in range(1, 8):
        both = offsets(radius) + [(-dy, -dx) for dy, dx in offsets(radius)]
        disc = {
            (dy, dx)
            for dy in range(-radius, radius + 1)
            for dx in range(-radius, radius + 1)
            if 0 < dy**2 + dx**2 < radius**2
        }
        assert len(both) == len(disc) and set(both) == disc


def line(dy: int, dx: int) -> list[tuple[int, int]]:
    """The line from (0, 0) to an offset by its definition: in their box, closer than 1 to the line."""
    ys, xs = range(min(dy, 0), max(dy, 0) + 1), range(min(dx, 0), max(dx, 0) + 1)
    return [(y, x) for y in ys for x in xs if abs(dx * y - dy * x) < np.hypot(dy, dx)]


boundaries = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1)).map(
    lambda seed: torch.rand(seed[:2], generator=torch.Generator().manual_seed(seed[2]))
)


@settings(max_examples=30, deadline=None)
@given(boundaries, st.integers(1, 6))
def test_affinity_is_one_less_the_largest_boundary_on_the_line(boundary, radius):
    height, width = boundary.shape
    result = affinities(boundary, radius)
    assert result.shape == (len(offsets(radius)), height, width)
    for (dy, dx), affinity in zip(offsets(radius), result, strict=True):
        for y, x in np.ndindex(height, width):
            inside = 0 <= y + dy < height and 0 <= x + dx < width
            expected = 1 - max(boundary[y + ly, x + lx] for ly, lx in line(dy, dx)) if inside else 0
            assert affinity[y, x] == expected


def by_pair(boundary: Tensor, radius: int) -> dict[frozenset[int], float]:
    """Affinity of each pair of pixels inside the image, a pixel being its number in reading order."""
    height, width = boundary.shape
    numbers = torch.arange(height * width).view(height, width)
    table = {}
    for offset, affinity in zip(offsets(radius), affinities(boundary, radius), strict=True):
        source, target = pair_slices(offset, height, width)
        ends = zip(numbers[source].flatten().tolist(), numbers[target].flatten().tolist(), strict=True)
        table |= dict(zip(map(frozenset, ends), affinity[source].flatten().tolist(), strict=True))
    return table


@settings(max_examples=30, deadline=None)
@given(boundaries, st.integers(1, 6), st.sampled_from(["transpose", "rows", "columns"]))
def test_affinities_are_in_range_and_symmetric_in_their_pair(boundary, radius, mirror):
    def turn(image: Tensor) -> Tensor:
        return image.T if mirror == "transpose" else image.flip(0 if mirror == "rows" else 1)

    plain = by_pair(boundary, radius)
    assert all(0 <= affinity <= 1 for affinity in plain.values())
    where = turn(torch.arange(boundary.numel()).view(boundary.shape)).flatten().tolist()
    turned = by_pair(turn(boundary), radius)
    assert {frozenset(where[end] for end in pair): value for pair, value in turned.items()} == plain


def test_leading_dimensions_are_images_of_their_own():
    boundary = torch.rand(2, 3, 7, 11)
    result = affinities(boundary, 4)
    assert torch.equal(result[1, 2], affinities(boundary[1, 2], 4))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_affinity_of_embeddings_falls_with_their_distance(channels, height, width, radius, seed):
    embedding = torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed))
    result = embedding_affinities(embedding, radius)
    assert result.shape == (len(offsets(radius)), height, width)
    for (dy, dx), affinity in zip(offsets(radius), result, strict=True):
        for y, x in np.ndindex(height, width):
            inside = 0 <= y + dy < height and 0 <= x + dx < width
            expected = 0.0
            if inside:
                distances = (embedding[:, y, x] - embedding[:, y + dy, x + dx]).abs().tolist()
                expected = np.exp(-np.mean(distances))
            assert affinity[y, x].item() == pytest.approx(expected, rel=1e-5)


def test_some_lines_are_the_same_as_those_among_all():
    values = torch.rand(12, 13)
    everything = dict(line_maxima(values, offsets(10)))
    some = dict(line_maxima(values, [(2, 9), (7, -3)]))
    assert set(some) == {(2, 9), (7, -3)}
    assert all(torch.equal(some[offset], everything[offset]) for offset in some)


def test_an_image_of_one_pixel_has_no_pair():
    assert torch.equal(affinities(torch.zeros(1, 1), 10), torch.zeros(152, 1, 1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_boundary_out_of_range_is_refused(value):
    boundary = torch.zeros(4, 5)
    boundary[2, 3] = value
    with pytest.raises(ValueError, match=r"boundary must be finite and in \[0, 1\]"):
        affinities(boundary, 5)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="radius must be at least 1 pixel, got 0"):
        offsets(0)
    with pytest.raises(ValueError, match=r"boundary must be \(..., H, W\), got \(4,\)"):
        affinities(torch.zeros(4), 5)


def test_wrong_embeddings_are_refused():
    with pytest.raises(ValueError, match=r"at least one channel, got \(4, 5\)"):
        embedding_affinities(torch.zeros(4, 5), 5)
    with pytest.raises(ValueError, match=r"at least one channel, got \(0, 4, 5\)"):
        embedding_affinities(torch.zeros(0, 4, 5), 5)
    with pytest.raises(ValueError, match="embedding must be finite"):
        embedding_affinities(torch.full((2, 4, 5), torch.nan), 5)
