import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.algorithms.published import centroids, instance_map


def same_grouping(one, other):
    """Whether two maps of numbers put the same cells together, whatever the numbers."""
    pairs = set(zip(one.flatten().tolist(), other.flatten().tolist(), strict=True))
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def agreement(one, other):
    """Share of cells in the same group, each group matched to the one it shares most cells with."""
    table = np.zeros((int(one.max()) + 1, int(other.max()) + 1))
    np.add.at(table, (one.flatten().numpy(), other.flatten().numpy()), 1)
    return min(table.max(axis=0).sum(), table.max(axis=1).sum()) / table.sum()


def field_to(centres, height, width):
    """The exact field of cells that each belong to the nearest centre ▶ field (2,H,W), owner (H,W)."""
    grid = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")).float()
    offsets = torch.tensor(centres).float()[:, :, None, None] - grid
    owner = offsets.norm(dim=1).argmin(dim=0)
    return offsets.gather(0, owner.expand(1, 2, -1, -1))[0], owner


def smooth_field(seed, height, width, scale=4.0):
    coarse = torch.randn(1, 2, 4, 5, generator=torch.Generator().manual_seed(seed)) * scale
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]


def followed_by_hand(field, iterations):
    """Eq. 10 for one cell after another."""
    height, width = field.shape[1:]
    ends = np.zeros((2, height, width), int)
    for start in np.ndindex(height, width):
        y, x = start
        for _ in range(iterations):
            low_y, low_x = int(np.floor(y)), int(np.floor(x))
            high_y, high_x = min(low_y + 1, height - 1), min(low_x + 1, width - 1)
            wy, wx = y - low_y, x - low_x
            step = (1 - wy) * ((1 - wx) * field[:, low_y, low_x] + wx * field[:, low_y, high_x]) + wy * (
                (1 - wx) * field[:, high_y, low_x] + wx * field[:, high_y, high_x]
            )
            y, x = np.clip(y + step[0], 0, height - 1), np.clip(x + step[1], 0, width - 1)
        ends[:, start[0], start[1]] = round(y), round(x)
    return ends


@pytest.mark.parametrize("name", ["label_24x32", "label_33x47", "label_48x64"])
def test_agrees_with_the_published_implementation(reference, name):
    case = {key: torch.from_numpy(value) for key, value in reference(name).items()}
    ends = centroids(case["displacement"])
    assert ends.dtype == torch.int64
    assert (ends == case["centroids_100"]).all(dim=0).float().mean() >= 0.995
    assert agreement(instance_map(case["displacement"]), case["instance_map"]) >= 0.995


def test_zero_iterations_and_a_zero_field_stay_where_they_are():
    y, x = torch.meshgrid(torch.arange(5), torch.arange(7), indexing="ij")
    assert torch.equal(centroids(torch.randn(2, 5, 7), iterations=0), torch.stack([y, x]))
    assert torch.equal(centroids(torch.zeros(2, 5, 7)), torch.stack([y, x]))


def test_channel_0_moves_down_and_the_border_stops():
    field = torch.zeros(2, 6, 9)
    field[0] = 1
    ends = centroids(field, iterations=3)
    assert torch.equal(ends[0, :, 0], torch.tensor([3, 4, 5, 5, 5, 5]))
    assert torch.equal(ends[1, 0], torch.arange(9))
    assert (centroids(field)[0] == 5).all()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999), height=st.integers(1, 9), width=st.integers(1, 9), calm=st.booleans(), data=st.data())
def test_follows_the_field_like_a_plain_loop(seed, height, width, calm, data):
    # In a wild field paths that begin a float's last bit apart lie cells apart after a dozen steps.
    steps = data.draw(st.integers(1, 12 if calm else 3))
    field = smooth_field(seed, height, width, scale=0.8) if calm else smooth_field(seed, height, width)
    expected = torch.from_numpy(followed_by_hand(field.double().numpy(), steps))
    # A position half way between two cells may round to either.
    assert (centroids(field, steps) - expected).abs().max() <= 1
    assert (centroids(field, steps) == expected).all(dim=0).float().mean() >= 0.9


def test_a_field_still_after_ten_steps_answers_as_after_a_hundred():
    field, _ = field_to([(4, 4), (11, 15)], 16, 20)
    assert torch.equal(centroids(field, 10), centroids(field, 100))


@settings(max_examples=15, deadline=None)
@given(
    columns=st.lists(st.booleans(), min_size=4, max_size=4).filter(any),
    seed=st.integers(0, 999),
)
def test_a_field_that_points_at_n_centroids_gives_n_instances(columns, seed):
    random = np.random.default_rng(seed)
    centres = [
        (int(random.integers(4, 20)), 8 + 16 * i + int(random.integers(-2, 3))) for i, c in enumerate(columns) if c
    ]
    field, owner = field_to(centres, 24, 64)
    numbers = instance_map(field)
    assert numbers.dtype == torch.int64
    assert set(numbers.unique().tolist()) == set(range(1, len(centres) + 1))
    assert same_grouping(numbers, owner)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 999))
def test_flips_and_transposition_change_no_grouping(seed):
    field = smooth_field(seed, 19, 26, scale=0.8)  # no faster than it turns: nothing oscillates
    numbers = instance_map(field, threshold=0.3)
    flipped = field.flip(2) * torch.tensor([1, -1])[:, None, None]
    upside_down = field.flip(1) * torch.tensor([-1, 1])[:, None, None]
    # A float's last bit decides a cell here and there.
    assert agreement(instance_map(flipped, threshold=0.3).flip(1), numbers) >= 0.98
    assert agreement(instance_map(upside_down, threshold=0.3).flip(0), numbers) >= 0.98
    assert agreement(instance_map(field.flip(0).transpose(1, 2), threshold=0.3).T, numbers) >= 0.98


def test_candidates_that_touch_at_a_corner_only_are_two_centroids():
    field = torch.full((2, 4, 4), 9.0)
    field[:, :2, :2] = field[:, 2:, 2:] = 0
    numbers = instance_map(field, iterations=0)
    assert numbers.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 2, 2], [0, 0, 2, 2]]


def test_the_threshold_is_a_length_and_is_itself_no_candidate():
    field = torch.zeros(2, 1, 3)
    field[:, 0, 1] = torch.tensor([1.5, 2.0])  # length 2.5
    assert instance_map(field, iterations=0).tolist() == [[1, 0, 2]]
    assert instance_map(field, iterations=0, threshold=2.51).tolist() == [[1, 1, 1]]


def test_numbers_have_no_gaps_where_a_centroid_is_never_reached():
    # Three groups of candidates, {0}, {3, 4} and {6..9}; cell 0 itself moves on to the last.
    field = torch.zeros(2, 1, 10)
    field[1, 0] = torch.tensor([2.0, 3.0, 3.0, 1.0, 0.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    assert instance_map(field).tolist() == [[2, 1, 2, 1, 1, 2, 2, 2, 2, 2]]


def test_no_candidates_is_all_zero():
    field = torch.full((2, 5, 6), 40.0)
    assert not instance_map(field).any()


@pytest.mark.parametrize("shape", [(2, 0, 5), (2, 5, 0), (2, 1, 1), (2, 1, 6), (2, 6, 1)])
def test_thin_and_empty_fields(shape):
    assert centroids(torch.zeros(shape)).shape == shape
    assert instance_map(torch.zeros(shape)).shape == shape[1:]


@pytest.mark.parametrize(
    ("field", "iterations", "words"),
    [
        (torch.zeros(3, 4, 4), 1, r"\(2, H, W\), got torch.float32 \(3, 4, 4\)"),
        (torch.zeros(2, 4), 1, r"got torch.float32 \(2, 4\)"),
        (torch.zeros(2, 4, 4, dtype=torch.int64), 1, "float"),
        (torch.full((2, 4, 4), torch.nan), 1, "NaN"),
        (torch.full((2, 4, 4), torch.inf), 1, "infinity"),
        (torch.zeros(2, 4, 4), -1, "iterations >= 0, got -1"),
    ],
)
def test_bad_input_is_named(field, iterations, words):
    with pytest.raises(ValueError, match=words):
        instance_map(field, iterations)


@pytest.mark.gpu
def test_the_gpu_agrees():
    field = smooth_field(0, 94, 125)
    numbers = instance_map(field.cuda())
    assert numbers.is_cuda
    assert agreement(numbers.cpu(), instance_map(field)) >= 0.99
