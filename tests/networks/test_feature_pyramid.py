"""A feature pyramid on bodies of several families: its levels, and which parameters learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.body import STRIDES
from irnet_ray.networks.feature_pyramid import build_pyramid

pytest.importorskip("timm")
torch.set_num_threads(1)

FAMILIES = ("lite0", "resnet18", "mobilenet_v3_small", "convnext_atto", "resnet10t")


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_a_pyramid_has_256_channels_at_each_stride(name: str) -> None:
    pyramid = build_pyramid(find_backbone(name)).eval()
    assert pyramid.body.strides == STRIDES and pyramid.out_channels == 256
    levels = pyramid(torch.rand(2, 3, 64, 96))
    shapes = {key: tuple(level.shape) for key, level in levels.items()}
    expected = {str(number): (2, 256, 64 // stride, 96 // stride) for number, stride in enumerate(STRIDES)}
    assert shapes == {**expected, "pool": (2, 256, 1, 2)}


@pytest.mark.parametrize("name", ["resnet50", "lite0", "mobilenet_v3_small"])
def test_stem_first_stage_and_batch_normalization_are_frozen(name: str) -> None:
    body = build_pyramid(find_backbone(name)).train().body
    norms = [module for module in body.modules() if isinstance(module, nn.BatchNorm2d)]
    assert body.training and norms and not any(norm.training for norm in norms)
    learning = {key for key, parameter in body.network.named_parameters() if parameter.requires_grad}
    assert not {id(p) for norm in norms for p in norm.parameters()} & {
        id(p) for p in body.parameters() if p.requires_grad
    }
    if name == "resnet50":
        convolutions = {key for key, p in body.network.named_parameters() if p.ndim == 4}
        assert learning == {key for key in convolutions if key.startswith(("layer2", "layer3", "layer4"))}
    levels = body(torch.rand(1, 3, 64, 64))
    assert not levels[0].requires_grad and all(level.requires_grad for level in levels[1:])
    before = {key: tensor.clone() for key, tensor in body.state_dict().items()}
    torch.stack([level.square().mean() for level in levels[1:]]).sum().backward()
    assert all(torch.equal(before[key], tensor) for key, tensor in body.state_dict().items())
    assert [key for key, p in body.network.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_network_without_those_levels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"The network squeezenet1_1 gives levels of strides \(\)"):
        build_pyramid(find_backbone("squeezenet1_1"))
    with pytest.raises(ValueError, match="The network vit_b_16 gives no levels"):
        build_pyramid(find_backbone("vit_b_16"))
