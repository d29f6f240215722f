"""Networks as map stages run them: folded, channels last, in the precision that the device is fast at."""

from __future__ import annotations

import contextlib
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irnet_ray.algorithms.precision import has_bfloat16
from irnet_ray.networks.backbone import fold_batch_norm

Network = TypeVar("Network", bound=nn.Module)


def for_inference(network: Network, device: torch.device) -> Network:
    """Put a trained network with a `backbone` on a device, ready for `precision`; its parameters are frozen."""
    network.eval().requires_grad_(False)
    fold_batch_norm(network.backbone)  # type: ignore[arg-type]
    return network.to(device).to(memory_format=torch.channels_last)


def precision(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Autocast to bfloat16 on GPUs and on processors with bfloat16 instructions; float32 elsewhere."""
    return torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device))


def to_network(image_HW3: np.ndarray, device: torch.device) -> Tensor:
    """Uint8 (H, W, 3) to float32 (1, 3, H, W) in 0..255 on a device."""
    return torch.tensor(image_HW3).to(device).permute(2, 0, 1)[None].float()


def rescale(image_B3HW: Tensor, scale: float, across: int = 1) -> Tensor:
    """Float (B, 3, H, W) in 0..255 resized by `scale`, averaging over pixels where it shrinks, channels last.

    The new width is a multiple of `across`, the nearest one.
    """
    height, width = (n * scale for n in image_B3HW.shape[-2:])
    size = [max(1, round(height)), across * max(1, round(width / across))]
    if size != list(image_B3HW.shape[-2:]):
        image_B3HW = F.interpolate(image_B3HW, size, mode="bicubic", antialias=True).clamp(0, 255)
    return image_B3HW.contiguous(memory_format=torch.channels_last)
