"""Networks of torchvision and timm by name: their colours, and their weights or what to do without them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from irnet_ray.networks.backbone import UnknownBackboneError
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.library import IMAGENET, library_body, library_weights, timm_body, torchvision_names
from irnet_ray.networks.weights import imagenet_state

pytest.importorskip("timm")
torch.set_num_threads(1)


def test_colours_are_torchvision_s_timm_s_or_the_given_ones() -> None:
    body = library_body("resnet18", 32)
    assert (body.mean, body.std) == IMAGENET
    body = library_body("tf_efficientnet_lite0", 32)
    assert (body.mean, body.std) == ((127.5,) * 3, (127.5,) * 3)
    body = timm_body("tf_efficientnet_lite0", 32, ((1.0,) * 3, (2.0,) * 3))
    assert (body.mean, body.std) == ((1.0,) * 3, (2.0,) * 3)


def test_a_name_of_neither_library_is_refused() -> None:
    for build in (lambda: library_body("resnet5", 32), lambda: library_weights("resnet5")):
        with pytest.raises(UnknownBackboneError, match="Neither torchvision nor timm has a network 'resnet5'"):
            build()


def test_weights_that_cannot_be_had_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for scheme in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(scheme, "http://127.0.0.1:9")  # where nothing listens
    assert "resnet18" in torchvision_names() and "resnet10t" not in torchvision_names()
    for name in ("resnet18", "resnet10t"):
        with pytest.raises(ConnectionError, match=f"weights of {name} are neither on this machine .* pass their path"):
            library_weights(name)
    torch.save({"x": torch.ones(1)}, tmp_path / "own.pth")
    assert list(imagenet_state(find_backbone("resnet18"), tmp_path / "own.pth")) == ["x"]
