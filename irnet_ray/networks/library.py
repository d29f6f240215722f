"""Classification networks of torchvision and timm as bodies of students, by their names there."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from irnet_ray.networks.backbone import UnknownBackboneError
from irnet_ray.networks.body import PROBE, STRIDES, Body, stride_of

IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # mean and deviation of the three colours, in 0..255


def torchvision_names() -> list[str]:
    """The classification networks of torchvision."""
    return torchvision.models.list_models(module=torchvision.models)


def library_body(name: str, output_stride: int) -> Body:
    """The untrained body of a network; strides over `output_stride` (8, 16 or 32) are replaced by dilation.

    Raises:
        UnknownBackboneError: neither library has a network of this name.
        ModuleNotFoundError: the network is not torchvision's and the extra `lite` is not installed.
    """
    if name in torchvision_names():
        return Body(_torchvision_levels(name, output_stride), *IMAGENET)
    return timm_body(name, output_stride)


def library_weights(name: str) -> dict[str, Tensor]:
    """The library's own ImageNet weights of a network, which may be downloaded.

    Raises:
        UnknownBackboneError: neither library has a network of this name.
        ModuleNotFoundError: the network is not torchvision's and the extra `lite` is not installed.
        ConnectionError: the weights are neither on this machine nor reachable.
    """
    try:
        if name in torchvision_names():
            weights = torchvision.models.get_model_weights(name).DEFAULT
            return dict(weights.get_state_dict(progress=False, check_hash=True))
        return _timm(name).create_model(name, pretrained=True).state_dict()
    except (ModuleNotFoundError, UnknownBackboneError):
        raise
    except Exception as error:
        raise ConnectionError(
            f"The ImageNet weights of {name} are neither on this machine nor reachable "
            f"({type(error).__name__}: {error}): download them elsewhere and pass their path."
        ) from error


def timm_body(name: str, output_stride: int, colours: tuple[tuple[float, ...], ...] | None = None) -> Body:
    """The untrained body of a network of timm; see `library_body`.

    `colours` is the mean and the deviation of the three colours in 0..255; None for those that timm gives.
    """
    dilated = {} if output_stride == 32 else {"output_stride": output_stride}
    network = _timm(name).create_model(name, pretrained=False, features_only=True, **dilated)
    if colours is None:
        known = network.pretrained_cfg
        colours = tuple(tuple(255 * number for number in known[key]) for key in ("mean", "std"))
    mean, std = colours
    return Body(network, mean, std)


def _timm(name: str) -> Any:
    """The package timm, which has a network of this name."""
    try:
        import timm
    except ImportError as error:
        raise ModuleNotFoundError("Networks of timm need the extra `lite`: pip install 'irnet-ray[lite]'.") from error
    if not timm.is_model(name):
        raise UnknownBackboneError(f"Neither torchvision nor timm has a network {name!r}.")
    return timm


def _torchvision_levels(name: str, output_stride: int) -> nn.Module:
    """A network of torchvision as a module from an image to its levels by stride."""
    dilated = {32: {}, 16: {"replace_stride_with_dilation": [False, False, True]}}
    dilated[8] = {"replace_stride_with_dilation": [False, True, True]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of them warn about how they draw random weights
        network = torchvision.models.get_model(name, weights=None, **dilated[output_stride]).eval()
    last: dict[int, str] = {}

    def note(where: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if stride_of(output) in STRIDES:
                last[stride_of(output)] = where

        return hook

    # Stages, and the blocks of networks that are one row of blocks. What lies deeper is the inside of a block.
    watched = [(where, module) for where, module in network.named_modules() if where and where.count(".") < 2]
    hooks = [module.register_forward_hook(note(where)) for where, module in watched]
    with torch.no_grad():
        network(torch.zeros(1, 3, *PROBE))
    for hook in hooks:
        hook.remove()
    return create_feature_extractor(network, {last[stride]: str(stride) for stride in sorted(last)})
