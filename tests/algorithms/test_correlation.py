"""Attention spread over pixels with like features."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from irnet_ray.algorithms import correlation
from irnet_ray.algorithms.correlation import correlated


def two_regions() -> torch.Tensor:
    """Features (2, 4, 6): the left three columns of one kind, the right three of another."""
    features = torch.zeros(2, 4, 6)
    features[0, :, :3] = 1
    features[1, :, 3:] = 1
    return features


def test_attention_on_a_part_covers_all_that_looks_like_it() -> None:
    part = torch.zeros(1, 4, 6)
    part[0, 1, 1] = 1
    spread = correlated(part, [two_regions()])
    assert torch.equal(spread[0, :, :3], torch.ones(4, 3)) and not spread[0, :, 3:].any()


def test_a_mean_by_hand() -> None:
    # Three cells; the likeness of the first and second is cos 60 = 1/2, of the third with either 0; not squared.
    features = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.75**0.5, 0.0], [0.0, 0.0, 1.0]])[:, None]
    spread = correlated(torch.tensor([[[1.0, 0.0, 0.0]]]), [features], squarings=0)
    # (1, 1/2, 0) over sums of likeness (3/2, 3/2, 1) are 2/3, 1/3, 0; from 0 to 1 and squared: 1, 1/4, 0.
    torch.testing.assert_close(spread, torch.tensor([[[1.0, 0.25, 0.0]]]), atol=0.01, rtol=0)


def test_levels_have_equal_weight_at_the_size_of_the_first() -> None:
    fine, coarse = two_regions(), torch.ones(3, 2, 3)
    part = torch.zeros(1, 4, 6)
    part[0, 1, 1] = 1
    spread = correlated(part, [fine, coarse], squarings=0)
    assert spread.shape == (1, 4, 6)
    assert torch.equal(spread[0, :, :3], torch.ones(4, 3)) and not spread[0, :, 3:].any()


def test_a_uniform_map_says_nothing() -> None:
    assert not correlated(torch.full((1, 4, 6), 0.3), [two_regions()]).any()


def test_no_tags() -> None:
    assert correlated(torch.zeros(0, 4, 6), [two_regions()]).shape == (0, 4, 6)


def test_features_of_several_images_are_refused() -> None:
    with pytest.raises(ValueError, match="Expected levels"):
        correlated(torch.zeros(1, 4, 6), [two_regions()[None]])


def test_a_large_grid_is_correlated_at_a_smaller_size(monkeypatch: pytest.MonkeyPatch) -> None:
    features = two_regions().repeat_interleave(8, 1).repeat_interleave(8, 2)
    part = torch.zeros(1, 32, 48)
    part[0, 8:16, 8:16] = 1
    whole = correlated(part, [features])
    monkeypatch.setattr(correlation, "MOST_CELLS", 384)
    small = correlated(part, [features])
    assert small.shape == whole.shape == (1, 32, 48)
    assert ((small > 0.25) == (whole > 0.25)).float().mean() > 0.95


@pytest.mark.parametrize("coarse", [torch.zeros(3, 2, 3), torch.tensor([1.0, -1.0, 1.0]).expand(3, 2, 3)])
def test_cells_without_features_are_like_no_other(coarse: torch.Tensor) -> None:
    # Resized, opposite neighbours leave nothing in the middle between them.
    fine = two_regions()[:, :, :5]
    spread = correlated(torch.rand(1, 4, 5), [fine, coarse, coarse])
    assert torch.isfinite(spread).all() and spread.amin() == 0 and spread.amax() == 1


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), tags=st.integers(1, 3))
def test_from_zero_to_one_and_each_tag_by_itself(seed: int, tags: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.rand(tags, 5, 7, generator=generator)
    levels = [torch.randn(4, 5, 7, generator=generator), torch.randn(6, 3, 4, generator=generator)]
    spread = correlated(maps, levels)
    assert spread.shape == (tags, 5, 7)
    torch.testing.assert_close(spread.amin(dim=(1, 2)), torch.zeros(tags))
    torch.testing.assert_close(spread.amax(dim=(1, 2)), torch.ones(tags))
    torch.testing.assert_close(correlated(maps[:1], levels)[0], spread[0])
    torch.testing.assert_close(correlated(maps * 5, levels), spread, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        correlated(maps.flip(-1), [level.flip(-1) for level in levels]).flip(-1), spread, atol=1e-2, rtol=0
    )


@given(seed=st.integers(0, 10_000), channels=st.integers(4, 12))
@settings(deadline=None, max_examples=25)
def test_a_coarse_level_counts_as_if_its_features_were_resized(seed: int, channels: int) -> None:
    random = torch.Generator().manual_seed(seed)
    fine = torch.rand(4, 7, 9, generator=random)
    coarse = torch.randn(channels, 4, 5, generator=random)
    maps = torch.rand(2, 7, 9, generator=random)
    resized = interpolate(coarse[None], (7, 9), mode="bilinear")[0]
    # bfloat16 rounds features to 8 bits before their product, and products of the coarse level after it.
    for has_bfloat16, tolerance in ((False, 1e-5), (True, 0.1)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(correlation, "has_bfloat16", lambda device, has=has_bfloat16: has)
            answer, expected = (correlated(maps, [fine, level]) for level in (coarse, resized))
        torch.testing.assert_close(answer, expected, atol=tolerance, rtol=0)
