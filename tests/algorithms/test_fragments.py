"""Fragments of one object merge; two objects stay two."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from irnet_ray.algorithms.displacement import instance_map
from irnet_ray.algorithms.fragments import merged

H, W = 12, 32


def pointing(*centres: tuple[float, float]) -> torch.Tensor:
    """The field by which each cell points at the nearest centre."""
    y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
    towards = torch.stack([torch.stack([cy - y, cx - x]).float() for cy, cx in centres])
    nearest = towards.norm(dim=1).argmin(dim=0)
    return torch.gather(towards, 0, nearest.expand(1, 2, H, W))[0]


def test_two_objects_stay_two() -> None:
    field = pointing((6, 7), (6, 24))
    groups = instance_map(field)
    assert int(groups.max()) == 2
    assert torch.equal(merged(groups, field, 0.5), groups)


def test_a_smooth_field_with_two_rests_is_one_object() -> None:
    # Halfway between two rests the field turns slowly, a tenth of a cell at each, and never jumps.
    x = torch.arange(W).float()
    field = torch.zeros(2, H, W)
    field[0] = (6 - torch.arange(H).float())[:, None]
    field[1] = 3.5 * torch.sin((x - 7) / 17 * 2 * torch.pi).neg()
    groups = instance_map(field)
    assert int(groups.max()) > 1
    assert int(merged(groups, field, 0.5).max()) == 1


def test_no_centroid_is_no_fragment() -> None:
    field = pointing((6, 7), (6, 24))
    groups = instance_map(field)
    groups[:, 14:18] = 0
    assert torch.equal(merged(groups, field, 10.0), groups)


def test_a_share_of_nothing_merges_nothing_and_of_everything_all() -> None:
    field = pointing((3, 5), (8, 16), (3, 27))
    groups = instance_map(field)
    assert torch.equal(merged(groups, field, 0.0), groups)
    assert int(merged(groups, field, 10.0).max()) == 1


def test_an_empty_grid() -> None:
    assert merged(torch.zeros(0, 5, dtype=torch.int64), torch.zeros(2, 0, 5), 0.5).shape == (0, 5)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.1, 2))
def test_groups_only_ever_join(seed: int, share: float) -> None:
    field = 4 * torch.randn(2, H, W, generator=torch.Generator().manual_seed(seed))
    groups = instance_map(field)
    joined = merged(groups, field, share)
    assert torch.equal(joined == 0, groups == 0)
    before, after = groups.unique(), joined.unique()
    assert len(after) <= len(before) and torch.equal(after, torch.arange(int(after[0]), int(after[-1]) + 1))
    for number in before:
        assert len(joined[groups == number].unique()) == 1
