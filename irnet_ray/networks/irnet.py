"""IRNet: a displacement field and a class boundary map from a frozen backbone (paper 4.1, Fig. 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irnet_ray.networks.backbone import STRIDES, build_backbone
from irnet_ray.networks.inference import rescale

BOUNDARY_CHANNELS = 32
MERGED_CHANNELS = 256


def unit_conv(channels_in: int, channels_out: int) -> nn.Sequential:
    """1x1 convolution, group normalization and ReLU, the one building block of both branches."""
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
    """Displacement field: a top-down pathway merges the levels, three 1x1 convolutions decode it."""

    mean: Tensor

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
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

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Five levels to the displacement field (B, 2, H/4, W/4) as (dy, dx), in pixels of stride 4.

        In evaluation mode the mean displacement over the training images is subtracted (4.3).
        """
        x1, x2, x3, x4, x5 = (conv(level) for conv, level in zip(self.reduce, levels, strict=True))
        x = self.merge_stride16(torch.cat([x5, x4], dim=1))
        x = self.merge_stride8(torch.cat([upsample(x, 2, x3), x3], dim=1))
        field = self.decode(torch.cat([upsample(x, 2, x2), x2, x1], dim=1))
        return field if self.training else field - self.mean.view(1, 2, 1, 1)


class IRNet(nn.Module):
    """Both branches on one backbone that is frozen and always in evaluation mode."""

    def __init__(self, backbone: str) -> None:
        super().__init__()
        self.backbone = build_backbone(backbone).requires_grad_(False)
        self.boundary = BoundaryBranch(self.backbone.channels)
        self.displacement = DisplacementBranch(self.backbone.channels)

    def train(self, mode: bool = True) -> IRNet:
        """Switch the mode of the branches; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, image_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Float (B, 3, H, W) in 0..255 to boundary logits (B, 1, h, w) and displacement field (B, 2, h, w).

        h = ceil(H/4) and w = ceil(W/4); the field is (dy, dx) in pixels of stride 4.
        """
        with torch.no_grad():
            levels = self.backbone(image_B3HW)
        return self.boundary(levels), self.displacement(levels)

    @torch.no_grad()
    def predict(self, image_13HW: Tensor, scale: float = 1.0) -> tuple[Tensor, Tensor]:
        """One image to its boundary map (h, w) in [0, 1] and displacement field (2, h, w), both float32.

        h = ceil(H/4), w = ceil(W/4). `scale` is the size that the network sees the image at, times its own: the
        middle of those that it was trained at. The boundary logits of the image and of its mirror image are
        averaged; a mirrored displacement is not the displacement of the mirror image, so the field is the
        image's own.
        """
        seen = rescale(image_13HW, scale)
        logits, field = self(torch.cat([seen, seen.flip(-1)]))
        boundary = torch.sigmoid((logits[:1].float() + logits[1:].float().flip(-1)) / 2)
        answer = torch.cat([boundary, field[:1].float() / scale], dim=1)
        if scale != 1:
            grid = [-(-n // STRIDES[0]) for n in image_13HW.shape[-2:]]
            answer = F.interpolate(answer, grid, mode="bilinear", align_corners=False)
        return answer[0, 0], answer[0, 1:]
