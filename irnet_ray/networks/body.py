"""Bodies of students: a classification network without its head, one level of features for each stride.

A body's batch normalization is frozen at ImageNet's statistics. The caller normalizes its input, with the body's own
`mean` and `std`.

Shape suffixes: B images, C channels, H W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from irnet_ray.networks.backbones import Backbone, UnknownBackboneError
from irnet_ray.networks.batch_norm import freeze_parameters, freeze_statistics
from irnet_ray.networks.weights import check_state

STRIDES = (4, 8, 16, 32)
PROBE = (64, 96)  # its two sides differ, so that transposed or pooled features are not taken for levels


class Body(nn.Module):
    """The levels of a classification network, one for each of `strides`, with `channels`.

    `mean` and `std` are what the network's training normalized the three colours by, in 0..255. Batch normalization is
    always in evaluation mode and does not learn: the small batches of a detector would estimate worse statistics.

    Args:
        network: an image to its levels, a list or a dict, from fine to coarse.
        mean: of each colour.
        std: of each colour.
    """

    def __init__(self, network: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.network, self.mean, self.std = network.eval(), mean, std
        freeze_parameters(network)
        with torch.no_grad():
            sizes = [(stride_of(level), level) for level in self._levels(torch.zeros(1, 3, *PROBE))]
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
            first = self(torch.zeros(1, 3, *PROBE))[0].sum()
        used = torch.autograd.grad(first, learning, allow_unused=True)
        for parameter, gradient in zip(learning, used, strict=True):
            parameter.requires_grad_(gradient is None)


def build_body(backbone: Backbone, output_stride: int = 32) -> Body:
    """The untrained body of a backbone; strides over `output_stride` (8, 16 or 32) are replaced by dilation.

    Raises:
        ValueError: there is no such network, it gives no levels, or it cannot be dilated.
        ModuleNotFoundError: a network of timm without the extra `lite`.
    """
    try:
        body = backbone.body(output_stride)
    except (ModuleNotFoundError, UnknownBackboneError):
        raise
    except Exception as error:
        raise ValueError(
            f"The network {backbone.name} gives no levels of features at strides up to {output_stride} "
            f"({type(error).__name__}: {error}): choose a convolutional one."
        ) from error
    if not body.strides or body.strides[-1] != output_stride:
        raise ValueError(
            f"The network {backbone.name} gives levels of strides {body.strides}, expected up to {output_stride}."
        )
    return body


def load_body(body: nn.Module, state: dict[str, Tensor], source: str = "The given state") -> None:
    """Load ImageNet weights into a body (or the backbone of a segmentation network), without their head.

    Args:
        body: the network.
        state: of `weights.imagenet_state`.
        source: where the weights come from, for errors.

    Raises:
        ValueError: the weights are of another network; says which tensor differs.
    """
    network = body.network if isinstance(body, Body) else body
    own = network.state_dict()
    # Where timm takes levels out of a network, it flattens "stages.0" to "stages_0". Torchvision's segmentation
    # networks hold what its classification networks call `features`.
    plain = {_plain(key): tensor for key, tensor in state.items()}
    named = {key: plain[_plain(key)] for key in own if _plain(key) in plain}
    # Older files do not count batches, and a frozen batch normalization does not need the count.
    uncounted = {key: tensor for key, tensor in own.items() if key.endswith("num_batches_tracked")}
    named = uncounted | named
    check_state(own, named, source)
    network.load_state_dict(named)


def stride_of(level: Any) -> int:
    """The stride of what a network made of the `PROBE`; 0 if it is no level of features."""
    if not isinstance(level, Tensor) or level.ndim != 4:
        return 0
    height, width = level.shape[-2:]
    whole = PROBE[0] % height == 0 and PROBE[0] * width == PROBE[1] * height
    return PROBE[0] // height if whole else 0


def _plain(key: str) -> str:
    return key.removeprefix("features.").replace(".", "_")
