"""ResNet-50 takes torchvision's file, and says what to do if there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from irnet_ray.networks.resnet50 import ResNet50, weights_path
from irnet_ray.networks.weights import load_backbone


def test_it_takes_torchvision_s_file_without_its_head() -> None:
    from torchvision.models import resnet50

    torch.manual_seed(0)
    state = resnet50(weights=None).state_dict()
    network = ResNet50()
    load_backbone(network, state, "torchvision")
    own = network.state_dict()
    assert set(state) - set(own) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(tensor, state[name]) for name, tensor in own.items())


def test_weights_that_cannot_be_fetched_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(ConnectionError, match="pass --weights PATH, or use --backbone lite0") as caught:
        weights_path()
    assert "\n" not in str(caught.value)
