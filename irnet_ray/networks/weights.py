"""Weights in and out: ImageNet weights of the backbones, safetensors of ours. Nothing here runs code from a file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load, load_file
from torch import Tensor, nn

from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.five_levels import FiveLevels


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors`, `.pth` or `.pt` file, by name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file holds no state dict of tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No weights file at {path}.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as weights ({type(error).__name__}): "
            "expected tensors by name, saved by torch.save or safetensors."
        ) from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path} holds no state dict: expected tensors by name.")
    return state


def imagenet_state(backbone: Backbone, path: str | Path | None = None) -> dict[str, Tensor]:
    """ImageNet weights of a backbone by the names of its network: a file's, or its own, which may be downloaded.

    Raises:
        FileNotFoundError: no file at `path`.
        ValueError: `path` holds no weights, or there is no such network.
        ModuleNotFoundError: the backbone needs the extra `lite`.
        ConnectionError: the backbone's own weights are neither on this machine nor reachable.
    """
    return backbone.rename(read_state(path) if path is not None else backbone.weights())


def load_backbone(network: FiveLevels, state: dict[str, Tensor], source: str) -> None:
    """Load ImageNet weights (of `imagenet_state`) into a backbone's network, without their 1,000-class head.

    Raises:
        ValueError: the weights are of another network, or not finite; says which tensor.
    """
    own = network.state_dict()
    check_state(own, state, source)
    broken = next((name for name in own if not bool(torch.isfinite(state[name]).all())), None)
    if broken is not None:
        raise ValueError(f"{source} holds broken weights: {broken} is not finite everywhere.")
    network.load_state_dict({name: state[name] for name in own})


def imagenet_head(backbone: Backbone, channels: int, state: dict[str, Tensor], source: str) -> Tensor:
    """The ImageNet classifier (1000, `channels`) among a backbone's weights (of `imagenet_state`).

    Raises:
        ValueError: there is none, or it is not finite.
    """
    name = backbone.head
    if name is None:
        raise ValueError(
            f"The backbone {backbone.name} has no ImageNet classifier: train one, or take another backbone."
        )
    check_state({name: torch.empty(1000, channels, device="meta")}, state, source)
    if not bool(torch.isfinite(state[name]).all()):
        raise ValueError(f"{source} holds broken weights: {name} is not finite everywhere.")
    return state[name]


def load_weights(module: nn.Module, data: bytes, source: str) -> None:
    """Load every tensor of `module` from the bytes of a safetensors file; `source` names it in errors.

    Raises:
        ValueError: the bytes are no safetensors file, or hold another network; says which tensor differs.
    """
    load_part(module, "", data, source)


def load_part(module: nn.Module, prefix: str, data: bytes, source: str) -> None:
    """As `load_weights`, from those tensors of a larger network whose names begin with `prefix`."""
    try:
        state = load(data)
    except Exception as error:
        raise ValueError(f"The weights in {source} cannot be read: {error}") from error
    part = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    check_state(module.state_dict(), part, source)
    module.load_state_dict(part)


def check_state(own: dict[str, Tensor], state: dict[str, Tensor], source: str) -> None:
    """Raise ValueError naming the first tensor of `own` that `state` lacks or holds in another shape."""
    for name, tensor in own.items():
        if name not in state:
            raise ValueError(f"{source} holds weights of another network: tensor {name} is missing.")
        if state[name].shape != tensor.shape:
            expected, got = tuple(tensor.shape), tuple(state[name].shape)
            raise ValueError(f"{source} holds weights of another network: {name} is {got}, expected {expected}.")
