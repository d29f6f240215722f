"""A backbone of a few convolutions, made outside the package: what somebody adds who writes one of their own.

Its weights are random, under other names than the network's, so that a run needs `rename` too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.body import Body
from irnet_ray.networks.five_levels import FiveLevels

CHANNELS = (8, 8, 16, 16, 32)
PREFIX = "published."


def block(channels_in: int, channels_out: int, stride: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, dilation, dilation, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def blocks(last_strides: tuple[int, int]) -> nn.ModuleList:
    """A stem, then one block for each level; `last_strides` are those of the last two."""
    strides = (2, 1, 2, *last_strides)
    pairs = zip((4, *CHANNELS), CHANNELS, strides, strict=False)
    return nn.ModuleList([block(3, 4, 2), *(block(*pair) for pair in pairs)])


class ToyNetwork(FiveLevels):
    """Five levels for labeling."""

    channels = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.blocks = blocks((2, 1))

    def forward(self, image_B3HW: Tensor) -> list[Tensor]:
        x, levels = image_B3HW / 128 - 1, []
        for one in self.blocks:
            x = one(x)
            levels.append(x)
        return levels[1:]

    def low_levels(self) -> list[nn.Module]:
        return list(self.blocks[:3])


class ToyLevels(nn.Module):
    """The same layers with the strides of a student's body, and dilation in the place of those it may not have."""

    def __init__(self, output_stride: int) -> None:
        super().__init__()
        last_strides = {8: (1, 1), 16: (2, 1), 32: (2, 2)}
        self.blocks = blocks(last_strides[output_stride])

    def forward(self, image_B3HW: Tensor) -> list[Tensor]:
        levels = [image_B3HW]
        for one in self.blocks:
            levels.append(one(levels[-1]))
        return levels[1:]


def toy_body(output_stride: int) -> Body:
    return Body(ToyLevels(output_stride), (128.0,) * 3, (128.0,) * 3)


def toy_weights() -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {PREFIX + name: tensor for name, tensor in ToyNetwork().state_dict().items()}


def own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}


TOY = Backbone(
    "toy",
    ToyNetwork,
    toy_body,
    toy_weights,
    rename=own_names,
    defaults={
        "unit_size": 4,
        "classifier": {"epochs": 1, "min_iterations": 20, "batch_size": 4, "crop": 64, "resize": [64, 96]},
        "irnet": {"epochs": 1, "min_iterations": 6, "batch_size": 2, "crop": 64, "mean_images": 4},
        "deeplab": {"epochs": 1, "min_iterations": 4, "batch_size": 2, "crop": 64, "scales": [1.0], "crf": False},
    },
    deeplab_stride=16,
)
