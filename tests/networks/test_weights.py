"""Weights are read without running code from a file, and another network's are refused by the tensor's name."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn

from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.weights import (
    check_state,
    imagenet_head,
    imagenet_state,
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


def test_a_given_file_takes_the_place_of_a_backbone_s_own_weights_and_is_renamed(tmp_path: Path) -> None:
    backbone = replace(
        BACKBONES["resnet50"],
        weights=lambda: {"theirs": torch.zeros(1)},
        rename=lambda state: {f"our.{name}": tensor for name, tensor in state.items()},
    )
    torch.save({"given": torch.ones(1)}, tmp_path / "own.pth")
    assert list(imagenet_state(backbone)) == ["our.theirs"]
    assert list(imagenet_state(backbone, tmp_path / "own.pth")) == ["our.given"]


def test_broken_weights_are_refused_by_the_tensor_s_name() -> None:
    network = BACKBONES["resnet50"].network()
    state = network.state_dict()
    state["layer1.0.bn1.bias"] = torch.full((64,), torch.nan)
    with pytest.raises(ValueError, match=r"^here holds broken weights: layer1\.0\.bn1\.bias is not finite"):
        load_backbone(network, state, "here")


def test_the_imagenet_classifier_is_found_by_the_name_that_the_backbone_says() -> None:
    backbone, head = BACKBONES["resnet50"], torch.rand(1000, 2048)
    assert imagenet_head(backbone, 2048, {"fc.weight": head}, "here") is head
    with pytest.raises(ValueError, match=r"fc\.weight is \(1000, 2048\), expected \(1000, 1280\)"):
        imagenet_head(backbone, 1280, {"fc.weight": head}, "here")
    with pytest.raises(ValueError, match=r"broken weights: fc\.weight"):
        imagenet_head(backbone, 2048, {"fc.weight": head * torch.inf}, "here")
    with pytest.raises(ValueError, match="The backbone resnet50 has no ImageNet classifier"):
        imagenet_head(replace(backbone, head=None), 2048, {"fc.weight": head}, "here")
