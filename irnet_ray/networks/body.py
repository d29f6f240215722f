"""Bodies of students: a classification network without its head, one level of features for each stride.

A body's batch normalization is frozen at ImageNet's statistics. The caller normalizes its input, with the body's own
`mean` and `std`.

Shape suffixes: B images, C channels, H W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from irnet_ray.networks.batch_norm import freeze_parameters, freeze_statistics

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


def stride_of(level: Any) -> int:
    """The stride of what a network made of the `PROBE`; 0 if it is no level of features."""
    if not isinstance(level, Tensor) or level.ndim != 4:
        return 0
    height, width = level.shape[-2:]
    whole = PROBE[0] % height == 0 and PROBE[0] * width == PROBE[1] * height
    return PROBE[0] // height if whole else 0
