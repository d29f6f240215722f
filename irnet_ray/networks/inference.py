"""Networks as map stages run them: folded, channels last, in the precision that the device is fast at."""

from __future__ import annotations

import contextlib
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irnet_ray.algorithms.precision import has_bfloat16
from irnet_ray.networks.batch_norm import fold_batch_norm
from irnet_ray.networks.five_levels import STRIDES

Network = TypeVar("Network", bound=nn.Module)


def for_inference(network: Network, device: torch.device) -> Network:
    """Put a trained network with a `backbone` on a device and freeze it; call it within `precision`."""
    network.eval().requires_grad_(False)
    fold_batch_norm(network.backbone)  # type: ignore[arg-type]
    network.to(device).to(memory_format=torch.channels_last)
    if has_bfloat16(device):  # else autocast converts them in every pass
        for module in network.backbone.modules():  # type: ignore[union-attr]
            if isinstance(module, nn.Conv2d):
                module.to(torch.bfloat16)
    return network


def precision(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Autocast to bfloat16 on GPUs and on processors with bfloat16 instructions; float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))


def to_network(image_HW3: np.ndarray, device: torch.device) -> Tensor:
    """Uint8 (H, W, 3) to float32 (1, 3, H, W) in 0..255 on a device."""
    return torch.tensor(image_HW3).to(device).permute(2, 0, 1)[None].float()


def seen_size(size: tuple[int, ...], scale: float) -> tuple[int, int]:
    """The size (H, W) at which a network sees an image of (H, W) pixels: `scale` times it, in whole cells of stride 16.

    So the cells of an image coincide with those of its mirror image, images of similar sizes can pass together, and a
    GPU meets few sizes: preparing for a new one takes it longer than the pass itself.
    """
    cell = STRIDES[-1]
    height, width = (cell * max(1, round(n * scale / cell)) for n in size)
    return height, width


def rescale(image_B3HW: Tensor, scale: float) -> Tensor:
    """Resize float (B, 3, H, W) in 0..255 to its `seen_size`, channels last; shrinking averages over pixels."""
    own = tuple(image_B3HW.shape[-2:])
    size = seen_size(own, scale)
    if size != own:
        image_B3HW = F.interpolate(image_B3HW, size, mode="bicubic", antialias=True).clamp_(0, 255)
    return image_B3HW.contiguous(memory_format=torch.channels_last)
