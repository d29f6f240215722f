"""AffinityNet: an embedding of the last three levels at stride 8, and a prediction on the attention's grid."""

from __future__ import annotations

import math

import pytest
import torch

from irnet_ray.networks.affinitynet import AffinityNet
from irnet_ray.networks.backbones import BACKBONES

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=BACKBONES)
def network(request: pytest.FixtureRequest) -> AffinityNet:
    if request.param == "lite0":
        pytest.importorskip("timm")
    torch.manual_seed(0)
    return AffinityNet(BACKBONES[request.param])


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (71, 33)])
@torch.no_grad()
def test_the_embedding_has_stride_eight_and_a_prediction_four(network: AffinityNet, size: tuple[int, int]) -> None:
    image = torch.rand(1, 3, *size) * 255
    channels = network.last.out_channels
    for factor in (1.0, 0.75):
        answer = network.eval().predict(image, factor)
        assert tuple(answer.shape) == (channels, *(math.ceil(n / 4) for n in size)) and answer.isfinite().all()
    assert tuple(network(image).shape) == (1, channels, *(math.ceil(n / 8) for n in size))


def test_the_published_widths_are_those_of_the_paper_s_backbone() -> None:
    network = AffinityNet(BACKBONES["resnet50"])
    assert [conv.out_channels for conv in network.reduce.children()] == [64, 128, 256]  # type: ignore[misc]
    assert network.last.weight.shape == (448, 448, 1, 1)


def test_the_backbone_is_frozen_and_everything_else_learns(network: AffinityNet) -> None:
    network.train()
    assert network.last.training and not any(module.training for module in network.backbone.modules())
    network(torch.rand(2, 3, 64, 64) * 255).square().sum().backward()
    assert all(p.grad is None for p in network.backbone.parameters())
    own = [*network.reduce.named_parameters(), *network.last.named_parameters()]
    assert len(own) == 4 and [name for name, p in own if p.grad is None] == []
    network.zero_grad(set_to_none=True)


@torch.no_grad()
def test_the_grid_of_a_prediction_is_the_image_s(network: AffinityNet) -> None:
    # Cell (y, x) of the prediction lies between cells of the embedding as its place in the image does.
    image = torch.rand(1, 3, 64, 96) * 255
    network.eval()
    coarse, fine = network(image)[0], network.predict(image)
    torch.testing.assert_close(fine[:, 0, 0], coarse[:, 0, 0], rtol=1e-3, atol=1e-3)
    expected = (0.75 * coarse[:, 0, 3] + 0.25 * coarse[:, 0, 4]).expand_as(fine[:, 0, 7])
    torch.testing.assert_close(fine[:, 0, 7], expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_autocast_rounds_the_backbone_only(network: AffinityNet) -> None:
    network.eval()
    with torch.autocast("cpu", torch.bfloat16):
        assert network(torch.rand(1, 3, 64, 64) * 255).dtype == torch.float32
