"""AffinityNet: an embedding whose distances are class affinities (Ahn and Kwak, CVPR 2018, 3.3), on IRNet's backbone.

The embedding has stride 8, as published: no level that it is made from is finer. IRNet's boundary has stride 4, because
it also sees the first two levels of the backbone.

Shape suffixes: B images, C channels, H W pixels; h w cells of stride 4.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.five_levels import STRIDES
from irnet_ray.networks.inference import rescale
from irnet_ray.networks.irnet import upsample

STRIDE = 8
REDUCED = (64, 128, 256)


class AffinityNet(nn.Module):
    """Three levels of a frozen backbone, each reduced, resized and concatenated, and a 1x1 convolution."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone.network().requires_grad_(False)
        channels = self.backbone.channels[2:]
        reduced = [min(c, most) for c, most in zip(channels, REDUCED, strict=True)]
        self.reduce = nn.ModuleList(nn.Conv2d(c, r, 1, bias=False) for c, r in zip(channels, reduced, strict=True))
        self.last = nn.Conv2d(sum(reduced), sum(reduced), 1, bias=False)
        for parameter in self.reduce.parameters():
            nn.init.kaiming_normal_(parameter)
        # As published: embeddings start far apart, because two equal ones cannot learn to differ.
        nn.init.xavier_uniform_(self.last.weight, gain=4)

    def train(self, mode: bool = True) -> AffinityNet:
        """Switch the mode; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Float (B, 3, H, W) in 0..255 to the embedding, float32 (B, C, ceil(H/8), ceil(W/8))."""
        with torch.no_grad():
            levels = self.backbone(image_B3HW)[2:]
        # The loss takes small differences of large numbers, which bfloat16 would round away.
        with torch.autocast(image_B3HW.device.type, enabled=False):
            reduced = [F.elu(conv(level.float())) for conv, level in zip(self.reduce, levels, strict=True)]
            resized = [upsample(r, s // STRIDE, reduced[0]) for r, s in zip(reduced, STRIDES[2:], strict=True)]
            return F.elu(self.last(torch.cat(resized, dim=1)))

    @torch.no_grad()
    def predict(self, image_13HW: Tensor, scale: float = 1.0) -> Tensor:
        """One image to its embedding on the grid of the attention maps, float32 (C, ceil(H/4), ceil(W/4)).

        The network sees the image at `scale` times its size.
        """
        seen = rescale(image_13HW, scale)
        grid = [-(-n // STRIDES[0]) for n in seen.shape[-2:]]
        embedding = upsample(self(seen), STRIDE // STRIDES[0], image_13HW.new_empty(grid))
        if seen.shape != image_13HW.shape:
            grid = [-(-n // STRIDES[0]) for n in image_13HW.shape[-2:]]
            embedding = F.interpolate(embedding, grid, mode="bilinear", align_corners=False)
        return embedding[0]
