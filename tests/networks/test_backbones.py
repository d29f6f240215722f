"""Every backbone of the table: five levels at fixed strides, low levels, bodies, and a bundle that can be pickled."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from irnet_ray.networks.backbone import Backbone, UnknownBackboneError
from irnet_ray.networks.backbones import BACKBONES, find_backbone
from irnet_ray.networks.five_levels import STRIDES
from irnet_ray.networks.weights import load_backbone

pytest.importorskip("timm")
torch.set_num_threads(1)

each_backbone = pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)


@each_backbone
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (67, 33), (70, 50)])
@torch.no_grad()
def test_five_levels_at_their_strides(backbone: Backbone, size: tuple[int, int]) -> None:
    network = backbone.network().eval()
    levels = network(torch.rand(2, 3, *size) * 255)
    expected = [
        (2, channels, *(math.ceil(n / stride) for n in size))
        for channels, stride in zip(network.channels, STRIDES, strict=True)
    ]
    assert [tuple(level.shape) for level in levels] == expected


@each_backbone
def test_low_levels_are_those_before_level_three(backbone: Backbone) -> None:
    torch.manual_seed(0)
    network = backbone.network()
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, 0.5, 1.5)  # no gradient vanishes
    network.eval()
    low = {id(p) for module in network.low_levels() for p in module.parameters()}
    levels = network(torch.rand(1, 3, 64, 64) * 255)
    used = torch.autograd.grad(levels[1].sum(), list(network.parameters()), allow_unused=True)
    for (key, parameter), gradient in zip(network.named_parameters(), used, strict=True):
        assert (id(parameter) in low) == (gradient is not None), key


@each_backbone
def test_the_row_is_found_by_its_name_and_survives_pickling(backbone: Backbone) -> None:
    assert find_backbone(backbone.name) is backbone
    assert pickle.loads(pickle.dumps(backbone)) == backbone
    assert hash(backbone) == hash(pickle.loads(pickle.dumps(backbone)))  # processes cache networks by it


@each_backbone
def test_a_network_takes_its_own_weights_after_renaming_and_no_other_s(backbone: Backbone) -> None:
    torch.manual_seed(0)
    network, state = backbone.network(), backbone.network().state_dict()
    load_backbone(network, backbone.rename(state), "here")
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    for other in BACKBONES.values():
        if other is not backbone:
            with pytest.raises(ValueError, match=r"^o\.pth holds weights of another network: tensor \S+ is missing"):
                load_backbone(network, backbone.rename(other.network().state_dict()), "o.pth")


def test_another_name_stands_for_a_network_that_students_alone_can_use() -> None:
    found = pickle.loads(pickle.dumps(find_backbone("resnet18")))
    assert found.name == "resnet18" and found.body(32).strides == (4, 8, 16, 32)
    with pytest.raises(UnknownBackboneError, match="Unknown backbone 'resnet18': choose one of resnet50, lite0"):
        found.network()


def test_names_and_defaults_are_known_without_torch() -> None:
    program = (
        "import sys; from irnet_ray.networks.backbones import BACKBONES, find_backbone; "
        "assert BACKBONES['lite0'].defaults and find_backbone('resnet18'); "
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
