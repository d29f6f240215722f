"""Weights are read without running code from a file, and another network's are refused by the tensor's name."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from irnet_ray.networks.backbone import NAMES, build_backbone
from irnet_ray.networks.weights import (
    check_state,
    imagenet_weights_path,
    load_backbone,
    load_part,
    load_weights,
    read_state,
)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_every_kind_of_file_is_read(tmp_path: Path, suffix: str) -> None:
    state = nn.Linear(3, 2).state_dict()
    path = tmp_path / f"w{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    assert all(torch.equal(tensor, state[name]) for name, tensor in read_state(path).items())


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("trapped", "w")


def test_files_that_hold_no_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="No weights file at"):
        read_state(tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap(), protocol=2))
    (tmp_path / "half.safetensors").write_bytes(save(nn.Linear(9, 9).state_dict())[:50])
    for name in ("text.pth", "trap.pth", "half.safetensors"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as weights"):
            read_state(tmp_path / name)
    assert not (tmp_path / "trapped").exists()
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    for name in ("list.pth", "epoch.pth"):
        with pytest.raises(ValueError, match="holds no state dict"):
            read_state(tmp_path / name)


def test_other_networks_weights_are_refused_by_the_tensor_s_name() -> None:
    own = nn.Linear(3, 2)
    with pytest.raises(ValueError, match=r"^here holds weights of another network: tensor weight is missing"):
        check_state(own.state_dict(), {"bias": torch.zeros(2)}, "here")
    with pytest.raises(ValueError, match=r"bias is \(3,\), expected \(2,\)"):
        load_weights(own, save(nn.Linear(3, 3).state_dict() | {"weight": torch.zeros(2, 3)}), "here")
    with pytest.raises(ValueError, match="The weights in here cannot be read"):
        load_weights(own, b"nonsense", "here")


def test_a_part_is_taken_from_a_larger_network() -> None:
    torch.manual_seed(0)
    right, part = nn.Linear(3, 2), nn.Linear(3, 2)
    whole = nn.ModuleDict({"left": nn.Linear(3, 2), "right": right})
    load_part(part, "right.", save(whole.state_dict()), "whole")
    assert torch.equal(part.weight, right.weight)
    with pytest.raises(ValueError, match="whole holds weights of another network: tensor weight is missing"):
        load_part(part, "middle.", save(whole.state_dict()), "whole")


@pytest.mark.parametrize(("name", "other"), [NAMES, NAMES[::-1]])
def test_one_backbone_does_not_take_the_other_s_weights(name: str, other: str) -> None:
    with pytest.raises(ValueError, match=r"^o\.pth holds weights of another network: tensor \S+ is missing"):
        load_backbone(build_backbone(name), build_backbone(other).state_dict(), "o.pth")


def test_resnet50_takes_torchvision_s_file_without_its_head() -> None:
    from torchvision.models import resnet50

    torch.manual_seed(0)
    state = resnet50(weights=None).state_dict()
    backbone = build_backbone("resnet50")
    load_backbone(backbone, state, "torchvision")
    own = backbone.state_dict()
    assert set(state) - set(own) == {"fc.weight", "fc.bias"}
    assert all(torch.equal(tensor, state[name]) for name, tensor in own.items())


def test_weights_that_cannot_be_fetched_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(ConnectionError, match="pass --weights PATH, or use --backbone lite0") as caught:
        imagenet_weights_path("resnet50")
    assert "\n" not in str(caught.value)
