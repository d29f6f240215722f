"""ResNet-50, the paper's backbone, and where its ImageNet weights lie."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irnet_ray.networks.five_levels import FiveLevels


class ResNet50(FiveLevels):
    """torchvision's ResNet-50 with the last downsampling stride reduced from 2 to 1."""

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


def weights_path() -> Path:
    """Where torchvision's ImageNet weights lie; they are downloaded once.

    Raises:
        ConnectionError: the weights are neither on this machine nor reachable.
    """
    from torchvision.models import ResNet50_Weights

    url = ResNet50_Weights.IMAGENET1K_V1.url
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), progress=False)
        except OSError as error:
            raise ConnectionError(
                f"The ImageNet weights of resnet50 are not at {path} and {url} cannot be reached ({error}): "
                "download them elsewhere and pass --weights PATH, or use --backbone lite0."
            ) from error
    return path
