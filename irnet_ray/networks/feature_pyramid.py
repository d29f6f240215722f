"""Bodies of networks by name, and a feature pyramid on them (Lin et al., CVPR 2017).

A body is a classification network without its head: one level of features for each stride, its batch normalization
frozen at ImageNet's statistics, its input normalized by the caller with the body's own `mean` and `std`.

Shape suffixes: B images, C channels, H W pixels.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from irnet_ray.networks.backbone import NAMES, freeze_statistics
from irnet_ray.networks.weights import check_state, imagenet_weights_path, lite0_names, read_state

STRIDES = (4, 8, 16, 32)
CHANNELS = 256
_PROBE = (64, 96)  # a size whose two sides differ, so that transposed or pooled features are told from levels
_IMAGENET = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
_WHERE = (
    "give resnet50, lite0, a name of torchvision.models.list_models(module=torchvision.models), or one of "
    "timm.list_models() (extra `lite`)"
)


class Body(nn.Module):
    """The levels of a classification network, one for each of `strides`, of `channels`.

    `mean` and `std` of the three colours in 0..255 are those that the network was trained with. Batch normalization
    is always in evaluation mode and does not learn: the small batches of a detector estimate worse statistics.
    """

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network, self.mean, self.std = network.eval(), mean, std
        freeze_batch_norm(network)
        with torch.no_grad():
            sizes = [(_stride(level), level) for level in self._levels(torch.zeros(1, 3, *_PROBE))]
        # The last output at each stride has seen most.
        last = {stride: number for number, (stride, _) in enumerate(sizes) if stride in STRIDES}
        self.strides, self._numbers = tuple(last), tuple(last.values())
        self.channels = tuple(sizes[number][1].shape[1] for number in self._numbers)

    def _levels(self, image_B3HW: Tensor) -> list[Tensor]:
        levels = self.network(image_B3HW)
        return list(levels.values()) if isinstance(levels, dict) else list(levels)

    def forward(self, image_B3HW: Tensor) -> list[Tensor]:
        """Normalized float (B, 3, H, W) to one level (B, C, ceil(H / stride), ceil(W / stride)) for each stride."""
        levels = self._levels(image_B3HW.contiguous(memory_format=torch.channels_last))
        return [levels[number] for number in self._numbers]

    def train(self, mode: bool = True) -> Body:
        """Switch the mode; batch normalization stays in evaluation mode."""
        super().train(mode)
        freeze_statistics(self)
        return self

    def freeze_first_level(self) -> None:
        """Freeze the stem and the first stage, which hold generic edges and colours."""
        learning = [p for p in self.network.parameters() if p.requires_grad]
        with torch.enable_grad():
            first = self(torch.zeros(1, 3, *_PROBE))[0].sum()
        used = torch.autograd.grad(first, learning, allow_unused=True)
        for parameter, gradient in zip(learning, used, strict=True):
            parameter.requires_grad_(gradient is None)


class Pyramid(nn.Module):
    """A body and, on its four levels, a feature pyramid: the backbone of torchvision's detectors.

    `normalized` puts group normalization after each of the pyramid's convolutions (Wu and He, ECCV 2018).
    """

    def __init__(self, body: Body, normalized: bool) -> None:
        super().__init__()
        self.body, self.mean, self.std = body, body.mean, body.std
        norm = partial(nn.GroupNorm, 32) if normalized else None
        self.fpn = FeaturePyramidNetwork(list(body.channels), CHANNELS, LastLevelMaxPool(), norm)
        self.out_channels = CHANNELS

    def forward(self, image_B3HW: Tensor) -> dict[str, Tensor]:
        """Normalized float (B, 3, H, W) to levels "0" to "3", of strides 4 to 32, and "pool", of 64; 256 channels."""
        levels = self.body(image_B3HW)
        return self.fpn(OrderedDict((str(number), level) for number, level in enumerate(levels)))


def build_pyramid(name: str) -> Pyramid:
    """An untrained feature pyramid by the name of its body, whose stem and first stage are frozen.

    `name` is `resnet50`, `lite0`, or any convolutional classification network of torchvision or timm.

    Raises:
        ValueError: no such network, or it has not the levels of strides 4, 8, 16 and 32.
        ModuleNotFoundError: a network of timm without the extra `lite`.
    """
    body = build_body(name)
    if body.strides != STRIDES:
        raise ValueError(f"The network {name} gives levels of strides {body.strides}, expected {STRIDES}.")
    body.freeze_first_level()
    # The published detector, on ResNet, has none. The levels of lite0, which end in no activation, have deviations
    # of up to 10: without, the losses grow from the tens.
    return Pyramid(body, normalized=name != "resnet50")


def build_body(name: str, output_stride: int = 32) -> Body:
    """An untrained body by its name; strides over `output_stride` (8, 16 or 32) are replaced by dilation.

    Raises:
        ValueError: no such network, it gives no levels, or it cannot be dilated.
        ModuleNotFoundError: a network of timm without the extra `lite`.
    """
    try:
        if name != "lite0" and name in torchvision_names():
            mean, std = _IMAGENET
            body = Body(_torchvision_levels(name, output_stride), mean, std)
        else:
            body = _timm_body(name, output_stride)
    except ModuleNotFoundError:
        raise
    except _UnknownError as error:
        raise ValueError(f"Unknown backbone {name!r}: {_WHERE}.") from error
    except Exception as error:
        raise ValueError(
            f"The network {name} gives no levels of features at strides up to {output_stride} "
            f"({type(error).__name__}: {error}): {_WHERE} that is convolutional."
        ) from error
    if not body.strides or body.strides[-1] != output_stride:
        raise ValueError(f"The network {name} gives levels of strides {body.strides}, expected up to {output_stride}.")
    return body


def imagenet_state(name: str, path: str | Path | None = None) -> dict[str, Tensor]:
    """ImageNet weights of a body: a file's, or the library's own, which may be downloaded.

    Raises:
        FileNotFoundError: no file at `path`.
        ValueError: `path` holds no weights, or no such network.
        ModuleNotFoundError: a network of timm without the extra `lite`.
        ConnectionError: the library's weights are neither cached nor reachable.
    """
    if path is not None:
        return read_state(path)
    if name in NAMES:
        return read_state(imagenet_weights_path(name))
    try:
        if name in torchvision_names():
            weights = torchvision.models.get_model_weights(name).DEFAULT
            return dict(weights.get_state_dict(progress=False, check_hash=True))
        return _timm().create_model(_timm_name(name), pretrained=True).state_dict()
    except _UnknownError as error:
        raise ValueError(f"Unknown backbone {name!r}: {_WHERE}.") from error
    except ModuleNotFoundError:
        raise
    except Exception as error:
        raise ConnectionError(
            f"The ImageNet weights of {name} are neither cached nor reachable ({type(error).__name__}: {error}): "
            "download them elsewhere and pass their path."
        ) from error


def load_body(body: nn.Module, name: str, state: dict[str, Tensor], source: str = "The given state") -> None:
    """Load ImageNet weights into a body (or the backbone of a segmentation network), leaving out its head.

    Raises:
        ValueError: the weights are of another network; says which tensor differs.
    """
    network = body.network if isinstance(body, Body) else body
    own = network.state_dict()
    if name == "lite0":
        state = lite0_names(own, state)
    # timm flattens "stages.0" to "stages_0" where it takes levels out; torchvision's segmentation networks hold
    # what a classification network calls `features`.
    plain = {_plain(key): tensor for key, tensor in state.items()}
    named = {key: plain[_plain(key)] for key in own if _plain(key) in plain}
    # Older files do not count batches, and a frozen batch normalization does not ask.
    uncounted = {key: tensor for key, tensor in own.items() if key.endswith("num_batches_tracked")}
    named = uncounted | named
    check_state(own, named, source)
    network.load_state_dict(named)


def freeze_batch_norm(module: nn.Module) -> None:
    """Freeze the scale and the offset of every batch normalization below `module`."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.requires_grad_(False)


def torchvision_names() -> list[str]:
    """The classification networks of torchvision."""
    return torchvision.models.list_models(module=torchvision.models)


class _UnknownError(Exception):
    """No library has a network of this name."""


def _plain(key: str) -> str:
    return key.removeprefix("features.").replace(".", "_")


def _stride(level: Any) -> int:
    """The stride of a level of features of the probe; 0 where it is no level."""
    if not isinstance(level, Tensor) or level.ndim != 4:
        return 0
    height, width = level.shape[-2:]
    whole = _PROBE[0] % height == 0 and _PROBE[0] * width == _PROBE[1] * height
    return _PROBE[0] // height if whole else 0


def _torchvision_levels(name: str, output_stride: int) -> nn.Module:
    """A network of torchvision as a module from an image to its levels by stride."""
    dilated = {32: {}, 16: {"replace_stride_with_dilation": [False, False, True]}}
    dilated[8] = {"replace_stride_with_dilation": [False, True, True]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on how some of them draw their random weights
        network = torchvision.models.get_model(name, weights=None, **dilated[output_stride]).eval()
    last: dict[int, str] = {}

    def note(where: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if _stride(output) in STRIDES:
                last[_stride(output)] = where

        return hook

    # Stages, and the blocks of networks that are one row of blocks; below them features are inside of a block.
    watched = [(where, module) for where, module in network.named_modules() if where and where.count(".") < 2]
    hooks = [module.register_forward_hook(note(where)) for where, module in watched]
    with torch.no_grad():
        network(torch.zeros(1, 3, *_PROBE))
    for hook in hooks:
        hook.remove()
    return create_feature_extractor(network, {last[stride]: str(stride) for stride in sorted(last)})


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise ModuleNotFoundError("Networks of timm need the extra `lite`: pip install 'irnet-ray[lite]'.") from error
    return timm


def _timm_name(name: str) -> str:
    if name == "lite0":
        return "tf_efficientnet_lite0"
    if not _timm().is_model(name):
        raise _UnknownError(name)
    return name


def _timm_body(name: str, output_stride: int) -> Body:
    dilated = {} if output_stride == 32 else {"output_stride": output_stride}
    network = _timm().create_model(_timm_name(name), pretrained=False, features_only=True, **dilated)
    if name == "lite0":
        return Body(network, (127.0,) * 3, (128.0,) * 3)
    numbers = network.pretrained_cfg
    return Body(network, tuple(255 * m for m in numbers["mean"]), tuple(255 * s for s in numbers["std"]))
