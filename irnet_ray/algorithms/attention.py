"""Class attention maps (CAMs) of one image, merged over scales (Eq. 1, multi-scale).

Shape legend: C classes of the network, K tags of the image, H W image pixels, h w network cells.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from irnet_ray.algorithms.maps import STRIDE

PADDED_STRIDE = 16  # image pixels per cell of the classifier, which pads the image to a multiple of it


class Attention(NamedTuple):
    """Attention of an image's tags, each map divided by its own maximum."""

    strided: Tensor  # float32 (K, ceil(H/4), ceil(W/4))
    full: Tensor  # float32 (K, H, W)


def merge_scales(maps: Sequence[Tensor], image_size: tuple[int, int], class_ids: Sequence[int] | Tensor) -> Attention:
    """Merge the classifier's maps at several scales into the attention of the image's tags (Eq. 1).

    Args:
        maps: one (C, h, w) float tensor per scale, not negative, already summed over the horizontal flip.
        image_size: (H, W) of the image in pixels.
        class_ids: the K channels of the image's tags, in the order of the result. K may be 0.

    Returns:
        `Attention(strided, full)`: float32 (K, ceil(H/4), ceil(W/4)) and (K, H, W), in [0, 1), on the maps'
        device.

    Raises:
        ValueError: no maps, maps that are not (C, h, w) with one C, a class id outside 0..C-1, or NaN.
    """
    height, width = image_size
    ids = torch.as_tensor(class_ids, dtype=torch.int64)
    _check(maps, height, width, ids)
    # Select before resizing, so that only the image's own tags cost time, however large the vocabulary is.
    selected = [m.index_select(0, ids.to(m.device)).float() for m in maps]
    if any(bool(torch.isnan(m).any()) for m in selected):
        raise ValueError("The attention maps hold NaN; expected finite numbers: check the classifier's weights.")
    strided_size = (-(-height // STRIDE), -(-width // STRIDE))
    padded_size = tuple(-(-side // PADDED_STRIDE) * PADDED_STRIDE for side in image_size)
    strided = _normalized(_resized_sum(selected, strided_size))
    full = _normalized(_resized_sum(selected, padded_size)[:, :height, :width])
    return Attention(strided, full)


def upsample(maps_Khw: Tensor, image_size: tuple[int, ...]) -> Tensor:
    """Maps at stride 4 at the size (H, W) of their image, bilinear: float (K, ceil(H/4), ceil(W/4)) to (K, H, W)."""
    height, width = image_size
    if not maps_Khw.numel():
        return maps_Khw.new_zeros((len(maps_Khw), height, width))
    padded = interpolate(maps_Khw[None], scale_factor=STRIDE, mode="bilinear", align_corners=False)[0]
    return padded[:, :height, :width]


def _resized_sum(maps: Sequence[Tensor], size: tuple[int, ...]) -> Tensor:
    """Sum of (K,h,w) maps after bilinear resizing ▶ (K, *size)."""
    total = maps[0].new_zeros((maps[0].shape[0], *size))
    if total.numel():
        for m in maps:
            total += interpolate(m[None], size, mode="bilinear", align_corners=False)[0]
    return total


def _normalized(maps: Tensor) -> Tensor:
    """Divide each (H,W) map of (K,H,W) by its own maximum. The 1e-5 keeps an empty map at zero."""
    return maps / (maps.amax(dim=(1, 2), keepdim=True) + 1e-5)


def _check(maps: Sequence[Tensor], height: int, width: int, ids: Tensor) -> None:
    if not maps:
        raise ValueError("Expected the attention maps of at least one scale, got none.")
    shapes = [tuple(m.shape) for m in maps]
    if any(len(s) != 3 or 0 in s[1:] or s[0] != shapes[0][0] for s in shapes):
        raise ValueError(f"Expected maps of shape (C, h, w) with the same C at every scale, got {shapes}.")
    if height < 1 or width < 1:
        raise ValueError(f"Expected an image size (H, W) of at least one pixel, got ({height}, {width}).")
    classes = shapes[0][0]
    if ids.ndim != 1 or (ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < classes):
        raise ValueError(f"Expected a list of class ids in 0..{classes - 1}, got {ids.tolist()}.")
