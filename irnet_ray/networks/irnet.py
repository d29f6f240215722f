"""IRNet: a displacement field and a class boundary map from a frozen backbone (paper 4.1, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.five_levels import STRIDES
from irnet_ray.networks.inference import precision, rescale

BOUNDARY_CHANNELS = 32
MERGED_CHANNELS = 256


def unit_conv(channels_in: int, channels_out: int) -> nn.Sequential:
    """1x1 convolution, group normalization and ReLU: the building block of both branches."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, bias=False),
        nn.GroupNorm(min(16, channels_out // 8), channels_out),
        nn.ReLU(inplace=True),
    )


def upsample(x_BCHW: Tensor, factor: int, like: Tensor) -> Tensor:
    """Bilinear upsampling by `factor`, cropped to the size of `like`.

    A factor, not a size, so that pixels of an odd-sized map keep their place.
    """
    if factor > 1:
        x_BCHW = F.interpolate(x_BCHW, scale_factor=factor, mode="bilinear", align_corners=False)
    return x_BCHW[..., : like.shape[-2], : like.shape[-1]]


class BoundaryBranch(nn.Module):
    """Class boundary map: each level reduced, resized, concatenated, one last 1x1 convolution."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.reduce = nn.ModuleList(unit_conv(c, BOUNDARY_CHANNELS) for c in channels)
        self.last = nn.Conv2d(BOUNDARY_CHANNELS * len(channels), 1, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Five levels to boundary logits (B, 1, H/4, W/4)."""
        reduced = [conv(level) for conv, level in zip(self.reduce, levels, strict=True)]
        first = reduced[0]
        resized = [upsample(r, s // STRIDES[0], first) for r, s in zip(reduced, STRIDES, strict=True)]
        return self.last(torch.cat(resized, dim=1))


class DisplacementBranch(nn.Module):
    """Displacement field: a top-down pathway merges the levels, three 1x1 convolutions decode it.

    Training mirrors images, so features hardly tell the left side of an object from its right. Their difference from
    the mirror image's features does; `contrast` is its weight. The field of a mirror image is then the mirror image of
    the field: dy unchanged, dx negated. At 0 the field depends on the image alone, as published.
    """

    mean: Tensor

    def __init__(self, channels: tuple[int, ...], contrast: float) -> None:
        super().__init__()
        self.contrast = contrast
        reduced = [min(c, MERGED_CHANNELS) for c in channels]
        self.reduce = nn.ModuleList(unit_conv(c, r) for c, r in zip(channels, reduced, strict=True))
        self.merge_stride16 = unit_conv(reduced[4] + reduced[3], MERGED_CHANNELS)
        self.merge_stride8 = unit_conv(MERGED_CHANNELS + reduced[2], MERGED_CHANNELS)
        self.decode = nn.Sequential(
            unit_conv(MERGED_CHANNELS + reduced[1] + reduced[0], MERGED_CHANNELS),
            unit_conv(MERGED_CHANNELS, MERGED_CHANNELS),
            nn.Conv2d(MERGED_CHANNELS, 2, 1, bias=False),
        )
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, levels: list[Tensor], mirrored: list[Tensor] | None) -> Tensor:
        """Five levels to the displacement field (B, 2, H/4, W/4) as (dy, dx), in pixels of stride 4.

        `mirrored` holds the levels of the mirror images, mirrored back; None without contrast. Evaluation mode
        subtracts the mean displacement over the training images (4.3).
        """
        if mirrored is None:
            field = self._decoded(levels)
        else:
            own, other = self._decoded([self._pair(*pair) for pair in zip(levels, mirrored, strict=True)]).chunk(2)
            field = torch.stack([own[:, 0] + other[:, 0], own[:, 1] - other[:, 1]], dim=1) / 2
        return field if self.training else field - self.mean.view(1, 2, 1, 1)

    def _pair(self, own: Tensor, mirrored: Tensor) -> Tensor:
        """Features of the images, then of their mirror images, with `contrast` times their difference."""
        both, difference = (own + mirrored) / 2, (own - mirrored) * (self.contrast / 2)
        return torch.cat([both + difference, both - difference])

    def _decoded(self, levels: list[Tensor]) -> Tensor:
        x1, x2, x3, x4, x5 = (conv(level) for conv, level in zip(self.reduce, levels, strict=True))
        x = self.merge_stride16(torch.cat([x5, x4], dim=1))
        x = self.merge_stride8(torch.cat([upsample(x, 2, x3), x3], dim=1))
        return self.decode(torch.cat([upsample(x, 2, x2), x2, x1], dim=1))


class IRNet(nn.Module):
    """Both branches on one backbone that is frozen and always in evaluation mode."""

    def __init__(self, backbone: Backbone, contrast: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone.network().requires_grad_(False)
        self.boundary = BoundaryBranch(self.backbone.channels)
        self.displacement = DisplacementBranch(self.backbone.channels, contrast)

    def train(self, mode: bool = True) -> IRNet:
        """Switch the mode of the branches; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, image_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Float (B, 3, H, W) in 0..255 to boundary logits (B, 1, h, w) and displacement field (B, 2, h, w).

        h = ceil(H/4) and w = ceil(W/4); the field is (dy, dx) in pixels of stride 4.
        """
        if not self.displacement.contrast:
            levels = self._levels(image_B3HW)
            return self.boundary(levels), self.displacement(levels, None)
        levels, mirrored = self._both_levels(image_B3HW)
        return self.boundary(levels), self.displacement(levels, _flipped(mirrored))

    def _levels(self, image_B3HW: Tensor) -> list[Tensor]:
        with torch.no_grad():
            if not self.training:
                return self.backbone(image_B3HW)
            with precision(image_B3HW.device):  # the backbone does not learn, so full precision is not needed
                levels = self.backbone(image_B3HW)
            return [level.float() for level in levels]

    def _both_levels(self, image_B3HW: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Levels of images, and of their mirror images."""
        levels = self._levels(
            torch.cat([image_B3HW, image_B3HW.flip(-1)]).contiguous(memory_format=torch.channels_last)
        )
        own, mirrored = zip(*(level.chunk(2) for level in levels), strict=True)
        return list(own), list(mirrored)

    @torch.no_grad()
    def predict(self, images_13HW: Sequence[Tensor], scale: float = 1.0) -> list[tuple[Tensor, Tensor]]:
        """Boundary map (h, w) in [0, 1] and displacement field (2, h, w) of each image, float32, from one pass.

        h = ceil(H/4), w = ceil(W/4). The network sees the images at `scale` times their size, the middle of the scales
        that it was trained at. Their sizes may differ, but not their `seen_size`. The boundary logits of an image and
        of its mirror image are averaged.

        Raises:
            RuntimeError: images of more than one `seen_size`.
        """
        seen = torch.cat([rescale(image, scale) for image in images_13HW])
        levels, mirrored = self._both_levels(seen)
        logits = self.boundary(levels).float() + self.boundary(mirrored).float().flip(-1)
        field = self.displacement(levels, _flipped(mirrored) if self.displacement.contrast else None)
        answers = torch.cat([torch.sigmoid(logits / 2), field.float()], dim=1).split(1)
        return [_on_own_grid(*pair, seen.shape) for pair in zip(answers, images_13HW, strict=True)]


def _on_own_grid(answer_13hw: Tensor, image_13HW: Tensor, seen: torch.Size) -> tuple[Tensor, Tensor]:
    """Boundary map and field on the image's own grid, with the field in its cells.

    `seen` was rounded to whole cells, so the factor between the two sizes is not exactly the scale.
    """
    size = image_13HW.shape[-2:]
    grown = [n / m for n, m in zip(seen[-2:], size, strict=True)]
    answer_13hw = answer_13hw / answer_13hw.new_tensor([1, *grown]).view(1, 3, 1, 1)
    if seen[-2:] != size:
        grid = [-(-n // STRIDES[0]) for n in size]
        answer_13hw = F.interpolate(answer_13hw, grid, mode="bilinear", align_corners=False)
    return answer_13hw[0, 0], answer_13hw[0, 1:]


def _flipped(levels: list[Tensor]) -> list[Tensor]:
    """Levels of mirror images, mirrored back."""
    return [level.flip(-1) for level in levels]
