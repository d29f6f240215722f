"""Statistics and parameters that stay as they are, and folding that changes no output."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.batch_norm import fold_batch_norm, freeze_parameters, freeze_statistics
from irnet_ray.networks.five_levels import FiveLevels

pytest.importorskip("timm")
torch.set_num_threads(1)


def batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [child for child in module.modules() if isinstance(child, nn.BatchNorm2d)]


@pytest.fixture(params=BACKBONES)
def network(request: pytest.FixtureRequest) -> FiveLevels:
    """A network whose batch normalizations differ from the identity."""
    torch.manual_seed(0)
    network = BACKBONES[request.param].network()
    for norm in batch_norms(network):
        norm.running_mean = torch.empty(norm.num_features).uniform_(-0.5, 0.5)
        norm.running_var = torch.empty(norm.num_features).uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    return network.eval()


@torch.no_grad()
def test_folding_changes_nothing(network: FiveLevels) -> None:
    image = torch.rand(1, 3, 65, 49) * 255
    before = network(image)
    assert fold_batch_norm(network) is network
    assert batch_norms(network) == []
    for level, expected in zip(network(image), before, strict=True):
        # With random weights values grow from level to level, so the tolerance follows the level's size.
        assert (level - expected).abs().max() <= 1e-4 * expected.abs().max()
    folded = network(image)
    for level, expected in zip(fold_batch_norm(network)(image), folded, strict=True):
        assert torch.equal(level, expected)


def test_statistics_are_frozen_below_any_module(network: FiveLevels) -> None:
    whole = nn.Sequential(network).train()
    freeze_statistics(whole)
    assert batch_norms(whole)
    assert not any(norm.training for norm in batch_norms(whole))


def test_parameters_are_frozen_and_those_of_no_other_layer(network: FiveLevels) -> None:
    freeze_parameters(nn.Sequential(network))
    frozen = {id(p) for p in network.parameters() if not p.requires_grad}
    assert frozen == {id(p) for norm in batch_norms(network) for p in norm.parameters()}
