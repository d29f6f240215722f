"""IRNet as 4.1 draws it: a frozen backbone, two branches at stride 4, and the mean displacement subtracted."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import nn

from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.inference import rescale
from irnet_ray.networks.irnet import IRNet, upsample

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=[(name, contrast) for name in BACKBONES for contrast in (0.0, 3.0)], ids=str)
def network(request: pytest.FixtureRequest) -> IRNet:
    torch.manual_seed(0)
    name, contrast = request.param
    return IRNet(BACKBONES[name], contrast)


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (71, 33)])
@torch.no_grad()
def test_both_branches_answer_at_stride_four(network: IRNet, size: tuple[int, int]) -> None:
    logits, field = network.train()(torch.rand(2, 3, *size) * 255)
    h, w = (math.ceil(n / 4) for n in size)
    assert (tuple(logits.shape), tuple(field.shape)) == ((2, 1, h, w), (2, 2, h, w))


def test_the_backbone_is_frozen_and_always_in_evaluation_mode(network: IRNet) -> None:
    network.train()
    assert network.boundary.training and network.displacement.training
    assert not any(module.training for module in network.backbone.modules())
    before = {name: tensor.clone() for name, tensor in network.backbone.state_dict().items()}
    logits, field = network(torch.rand(2, 3, 64, 64) * 255)
    (logits.sum() + field.square().sum()).backward()
    assert all(p.grad is None and not p.requires_grad for p in network.backbone.parameters())
    branches = [*network.boundary.named_parameters(), *network.displacement.named_parameters()]
    assert [name for name, p in branches if p.grad is None] == []
    assert all(torch.equal(before[name], tensor) for name, tensor in network.backbone.state_dict().items())
    network.zero_grad(set_to_none=True)


def test_branches_hold_group_normalization_and_no_batch_normalization(network: IRNet) -> None:
    for branch in (network.boundary, network.displacement):
        kinds = [type(module) for module in branch.modules()]
        assert nn.GroupNorm in kinds and nn.BatchNorm2d not in kinds
        convolutions = [module for module in branch.modules() if isinstance(module, nn.Conv2d)]
        assert {module.kernel_size for module in convolutions} == {(1, 1)}
    assert len(network.boundary.reduce) == len(network.displacement.reduce) == 5


@torch.no_grad()
def test_the_mean_displacement_is_subtracted_in_evaluation_only(network: IRNet) -> None:
    image, mean = torch.rand(1, 3, 64, 64) * 255, torch.tensor([1.5, -2.0])
    network.displacement.mean.zero_()
    learning, plain = network.train()(image)[1], network.eval()(image)[1]
    network.displacement.mean.copy_(mean)
    try:
        assert torch.equal(network.train()(image)[1], learning)
        assert torch.allclose(network.eval()(image)[1], plain - mean.view(1, 2, 1, 1), atol=1e-5)
        assert "displacement.mean" in network.state_dict()
    finally:
        network.displacement.mean.zero_()


@torch.no_grad()
def test_a_prediction_averages_the_boundary_over_the_mirror_image(network: IRNet) -> None:
    image = torch.rand(1, 3, 64, 96) * 255
    network.eval()
    ((boundary, field),) = network.predict([image])
    logits, own = network(image)
    mirrored = network(image.flip(-1))[0].flip(-1)
    assert torch.allclose(boundary, torch.sigmoid((logits + mirrored)[0, 0] / 2), atol=1e-4)
    assert torch.allclose(field, own[0], rtol=1e-3, atol=1e-3 * float(own.abs().max()))
    assert tuple(boundary.shape) == (16, 24) and tuple(field.shape) == (2, 16, 24)
    assert boundary.min() >= 0 and boundary.max() <= 1


@torch.no_grad()
def test_with_contrast_the_field_of_the_mirror_image_is_the_mirror_image_of_the_field(network: IRNet) -> None:
    image = torch.rand(1, 3, 66, 100) * 255
    network.eval()
    network.displacement.mean.copy_(torch.tensor([0.5, 0.0]))
    ((_, field),) = network.predict([image], 0.75)
    ((_, other),) = network.predict([image.flip(-1)], 0.75)
    network.displacement.mean.zero_()
    mirrored = torch.stack([other[0], -other[1]]).flip(-1)
    alike = torch.allclose(field, mirrored, rtol=1e-3, atol=1e-3 * float(field.abs().max()))
    assert alike == bool(network.displacement.contrast)


@torch.no_grad()
def test_contrast_weighs_the_difference_from_the_mirror_image_s_features() -> None:
    torch.manual_seed(0)
    branch = IRNet(BACKBONES["lite0"], 2.0).displacement
    own, mirrored = torch.rand(1, 3, 4, 5), torch.rand(1, 3, 4, 5)
    first, second = branch._pair(own, mirrored).chunk(2)
    torch.testing.assert_close(first + second, own + mirrored)
    torch.testing.assert_close(first - second, 2 * (own - mirrored))


def test_upsampling_keeps_pixels_in_place_on_odd_sizes() -> None:
    coarse = torch.arange(5.0).view(1, 1, 1, 5).expand(1, 1, 3, 5)
    fine = upsample(coarse, 4, torch.zeros(1, 1, 9, 17))
    assert tuple(fine.shape) == (1, 1, 9, 17)
    # Fine pixel i lies at (i + 0.5) / 4 - 0.5 of the coarse map, wherever the crop ends.
    places = ((torch.arange(17.0) + 0.5) / 4 - 0.5).clamp(0, 4)
    assert torch.allclose(fine[0, 0, 0], places, atol=1e-6)


@torch.no_grad()
def test_an_image_of_a_few_pixels_has_maps_of_its_own_size(network: IRNet) -> None:
    ((boundary, field),) = network.eval().predict([torch.full((1, 3, 5, 3), 99.0)], 1)
    assert (tuple(boundary.shape), tuple(field.shape)) == ((2, 1), (2, 2, 1)) and bool(field.isfinite().all())


def test_an_image_seen_at_half_size_has_maps_of_its_own_size() -> None:
    torch.manual_seed(0)
    network = IRNet(BACKBONES["lite0"]).eval()
    image = torch.rand(1, 3, 66, 98) * 255
    ((small, small_field),) = network.predict([rescale(image, 0.5)])
    assert small.shape == (8, 12)  # of 32 x 48 pixels
    ((boundary, field),) = network.predict([image], 0.5)
    assert (boundary.shape, field.shape) == ((17, 25), (2, 17, 25))
    grow = partial(torch.nn.functional.interpolate, size=(17, 25), mode="bilinear")
    torch.testing.assert_close(boundary, grow(small[None, None])[0, 0])
    # A cell of the small image's grid is about two of the image's own.
    grown = torch.tensor([66 / 32, 98 / 48]).view(2, 1, 1)
    torch.testing.assert_close(field, grown * grow(small_field[None])[0])
