"""LPCAM's local prototypes: clusters of a tag, clusters of its surroundings, and the attention made from them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from irnet_ray.algorithms.prototypes import Prototypes, local_prototypes, prototype_attention

HEAD, LEGS, GRASS = torch.eye(3)


def samples(*parts: tuple[torch.Tensor, float, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy features of directions, each with its attention and number of samples."""
    generator = torch.Generator().manual_seed(0)
    features = [p[0] + 0.01 * torch.randn(p[2], 3, generator=generator) for p in parts]
    return torch.cat(features), torch.cat([torch.full((n,), attention) for _, attention, n in parts])


def test_each_cluster_has_its_direction_and_mean_attention() -> None:
    features, attention = samples((HEAD, 1.0, 40), (LEGS, 0.85, 40), (GRASS, 0.1, 60))
    found = local_prototypes(features * 7, attention, count=3)
    order = (found.centers @ torch.stack([HEAD, LEGS, GRASS]).T).argmax(dim=0)
    assert sorted(order.tolist()) == [0, 1, 2]
    torch.testing.assert_close(found.attention[order], torch.tensor([1.0, 0.85, 0.1]))
    torch.testing.assert_close(found.centers.norm(dim=1), torch.ones(3))


def test_the_same_samples_give_the_same_prototypes() -> None:
    features, attention = samples((HEAD, 1.0, 30), (GRASS, 0.1, 30))
    for one, same in zip(*(local_prototypes(features, attention, 4, seed=3) for _ in range(2)), strict=True):
        assert torch.equal(one, same)


def test_fewer_samples_than_clusters_are_all_prototypes() -> None:
    found = local_prototypes(torch.stack([HEAD, GRASS]), torch.tensor([0.5, 0.1]), count=16)
    assert len(found.centers) == 2
    assert sorted(found.attention.tolist()) == pytest.approx([0.2, 1.0])


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="N > 0"):
        local_prototypes(torch.zeros(0, 3), torch.zeros(0), 4)


def test_legs_are_attended_to_as_the_head_is_and_grass_is_not() -> None:
    prototypes = Prototypes(torch.stack([HEAD, LEGS, GRASS]), torch.tensor([1.0, 0.85, 0.1]))
    image = torch.stack([HEAD, LEGS, GRASS, HEAD + GRASS], dim=1).reshape(3, 1, 4)
    # A head is like one of two foreground prototypes: 1/2. Half head, half grass: 0.35 - 0.71 < 0.
    torch.testing.assert_close(prototype_attention(image, prototypes), torch.tensor([[1.0, 1.0, 0.0, 0.0]]))


def test_prototypes_between_the_two_thresholds_say_nothing() -> None:
    sure = Prototypes(torch.stack([HEAD, GRASS]), torch.tensor([1.0, 0.1]))
    more = Prototypes(torch.stack([HEAD, GRASS, LEGS]), torch.tensor([1.0, 0.1, 0.5]))
    image = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(prototype_attention(image, sure), prototype_attention(image, more))


def test_an_image_like_the_context_alone_has_no_attention() -> None:
    prototypes = Prototypes(torch.stack([HEAD, GRASS]), torch.tensor([1.0, 0.0]))
    assert not prototype_attention(GRASS.reshape(3, 1, 1).expand(3, 2, 2), prototypes).any()


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 6))
def test_attention_is_normalized_and_blind_to_the_length_of_features(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prototypes = Prototypes(
        normalize(torch.randn(count, 5, generator=generator), dim=1), torch.rand(count, generator=generator)
    )
    features = torch.randn(5, 3, 4, generator=generator)
    attention = prototype_attention(features, prototypes)
    assert attention.shape == (3, 4) and attention.min() >= 0
    assert float(attention.max()) in (0.0, 1.0)
    torch.testing.assert_close(prototype_attention(3 * features, prototypes), attention)
