"""A feature pyramid on a body (Lin et al., CVPR 2017).

Shape suffixes: B images, C channels, H W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.bodies import build_body
from irnet_ray.networks.body import STRIDES, Body

CHANNELS = 256


class Pyramid(nn.Module):
    """A body and, on its four levels, a feature pyramid: the backbone of torchvision's detectors.

    `normalized` puts group normalization after each of the pyramid's convolutions (Wu and He, ECCV 2018).
    """

    def __init__(self, body: Body, normalized: bool) -> None:
        super().__init__()
        self.body, self.mean, self.std = body, body.mean, body.std
        norm = partial(nn.GroupNorm, 32) if normalized else None
        self.fpn = FeaturePyramidNetwork(list(body.channels), CHANNELS, LastLevelMaxPool(), norm)
        self.out_channels = CHANNELS

    def forward(self, image_B3HW: Tensor) -> dict[str, Tensor]:
        """Normalized float (B, 3, H, W) to levels "0" to "3", of strides 4 to 32, and "pool", of 64; 256 channels."""
        levels = self.body(image_B3HW)
        return self.fpn(OrderedDict((str(number), level) for number, level in enumerate(levels)))


def build_pyramid(backbone: Backbone) -> Pyramid:
    """An untrained feature pyramid on a backbone's body, whose stem and first stage are frozen.

    Raises:
        ValueError: there is no such network, or it lacks a level of stride 4, 8, 16 or 32.
        ModuleNotFoundError: a network of timm without the extra `lite`.
    """
    body = build_body(backbone)
    if body.strides != STRIDES:
        raise ValueError(f"The network {backbone.name} gives levels of strides {body.strides}, expected {STRIDES}.")
    body.freeze_first_level()
    return Pyramid(body, normalized=backbone.normalize_levels)
