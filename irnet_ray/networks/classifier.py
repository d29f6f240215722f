"""The classification network whose attention maps seed everything (paper 3, Eq. 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.batch_norm import freeze_statistics


class Classifier(nn.Module):
    """Backbone, global average pooling and a 1x1 classifier without bias.

    The classifier's weights applied before pooling give the class attention maps of Eq. 1.
    """

    def __init__(self, backbone: Backbone, classes: int) -> None:
        super().__init__()
        self.backbone = backbone.network()
        self.classifier = nn.Conv2d(self.backbone.channels[-1], classes, 1, bias=False)
        for module in self.backbone.low_levels():
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> Classifier:
        """Switch the mode; batch normalization stays in evaluation mode."""
        super().train(mode)
        freeze_statistics(self.backbone)
        return self

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Float (B, 3, H, W) in 0..255 to class logits, float (B, C)."""
        features = self.backbone(image_B3HW)[-1]
        return self.classifier(features.mean(dim=(2, 3), keepdim=True)).flatten(1)

    @torch.no_grad()
    def attention(self, features_BDhw: Tensor, class_ids: Tensor) -> Tensor:
        """Class attention maps of the image's own classes, Eq. 1 before normalization.

        Takes the last level of `backbone(image)`, (B, D, h, w), and class numbers, int64 (K,); returns float32
        (B, K, h, w), not negative. Only the K rows of the classifier are applied, so a vocabulary of 21,000 costs no
        more than one of 20.
        """
        weight = self.classifier.weight[class_ids]
        # Autocast would round the maps to the 8 bits of bfloat16 before they are summed over scales.
        with torch.autocast(features_BDhw.device.type, enabled=False):
            return torch.relu(nn.functional.conv2d(features_BDhw.float(), weight.float()))
