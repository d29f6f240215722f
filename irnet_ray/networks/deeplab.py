"""DeepLab v2 (Chen et al., TPAMI 2018), the student that learns from class maps (paper 6.2), and torchvision's
segmentation networks.

Images are float (B, 3, H, W) in 0..255; class 0 is the background.

Shape suffixes: B images, C classes and background, H W pixels; h w cells of a network's stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d
from torchvision.models.segmentation import LRASPP

from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.batch_norm import freeze_parameters, freeze_statistics
from irnet_ray.networks.bodies import build_body, load_body
from irnet_ray.networks.inference import rescale
from irnet_ray.networks.irnet import upsample
from irnet_ray.networks.library import IMAGENET

IGNORED = 255
MAX_CLASSES = 254  # a class map is uint8, 0 is the background and 255 is ignored
RATES = (6, 12, 18, 24)  # in cells of stride 8


class Segmenter(nn.Module):
    """A backbone and a head that gives logits of classes and background at the backbone's stride.

    The batch normalization of the backbone is always in evaluation mode and does not learn.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, backbone: nn.Module, head: nn.Module, level: int | str | None, colours: tuple[Sequence[float], ...]
    ) -> None:
        super().__init__()
        self.backbone, self.head, self.level = backbone, head, level
        freeze_parameters(backbone)
        for name, values in zip(("mean", "std"), colours, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Float (B, 3, H, W) in 0..255 to logits (B, C, h, w), h = ceil(H / stride) and w = ceil(W / stride)."""
        x = (image_B3HW.contiguous(memory_format=torch.channels_last) - self.mean) / self.std
        features: Any = self.backbone(x)
        return self.head(features if self.level is None else features[self.level])

    def train(self, mode: bool = True) -> Segmenter:
        """Switch the mode; the backbone's batch normalization stays in evaluation mode."""
        super().train(mode)
        freeze_statistics(self.backbone)
        return self

    def body_parameters(self) -> list[nn.Parameter]:
        """The parameters of the backbone that learn."""
        return [p for p in self.backbone.parameters() if p.requires_grad]

    def head_parameters(self) -> list[nn.Parameter]:
        """The parameters of the head that learn; as published, at ten times the rate of the backbone."""
        return [p for p in self.head.parameters() if p.requires_grad]


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: parallel 3x3 convolutions at several rates, summed.

    `normalized` puts layer normalization before them, over the channels of each cell. A normalization over the whole
    image would see something else in a padded crop than in a photo.
    """

    def __init__(self, channels: int, outputs: int, rates: Sequence[int], normalized: bool) -> None:
        super().__init__()
        self.layer_norm = LayerNorm2d(channels, eps=1e-6) if normalized else nn.Identity()
        branches = [nn.Conv2d(channels, outputs, 3, padding=rate, dilation=rate) for rate in rates]
        for branch in branches:
            nn.init.normal_(branch.weight, std=0.01)
            nn.init.zeros_(branch.bias)  # type: ignore[arg-type]
        self.branches = nn.ModuleList(branches)

    def forward(self, x_BDhw: Tensor) -> Tensor:
        """Features (B, D, h, w) to logits (B, C, h, w)."""
        x_BDhw = self.layer_norm(x_BDhw)
        return torch.stack([branch(x_BDhw) for branch in self.branches]).sum(0)


class DeepLabV2(Segmenter):
    """DeepLab v2 on a backbone's body, whose last strides are replaced by dilation.

    The backbone says the stride, 8 as published. The rates, in pixels of the image, are the same at any stride.

    Raises:
        ValueError: there is no such network, it cannot be dilated, or there are over 254 classes.
    """

    def __init__(self, backbone: Backbone, classes: int) -> None:
        _check_classes(classes)
        stride = backbone.deeplab_stride
        body = build_body(backbone, stride)
        rates = [rate * 8 // stride for rate in RATES]
        head = AtrousPyramid(body.channels[-1], classes + 1, rates, normalized=backbone.normalize_levels)
        super().__init__(body, head, -1, (body.mean, body.std))


def build_deeplab(
    network: str,
    backbone: Backbone,
    classes: int,
    *,
    weights: dict[str, Tensor] | None = None,
    source: str = "The given state",
) -> Segmenter:
    """A segmentation network by name, ready to train.

    Args:
        network: `v2`, DeepLab v2 on `backbone`, or a segmentation network of torchvision, which names its own
            backbone (`deeplabv3_resnet50`). The latter's head may hold batch normalization that learns, which needs
            batches of two images or more.
        backbone: the body of `v2`.
        classes: how many classes there are, the background not counted; at most 254.
        weights: ImageNet weights (of `weights.imagenet_state`) of the network's backbone (`backbone_of`); None
            leaves it untrained, to load a state dict next.
        source: where the weights come from, for errors.

    Raises:
        ValueError: there is no such network or backbone, there are over 254 classes, or the weights are of another
            network.
        ModuleNotFoundError: a backbone of timm without the extra `lite`.
    """
    model = DeepLabV2(backbone, classes) if network == "v2" else _of_torchvision(network, classes)
    if weights is not None:
        load_body(model.backbone, weights, source)
    return model


def backbone_of(network: str, backbone: Backbone) -> Backbone:
    """The backbone of a segmentation network: the given one for `v2`, else the one in the name of torchvision's."""
    return backbone if network == "v2" else find_backbone(network.partition("_")[2])


def loss(logits_BChw: Tensor, target_BHW: Tensor) -> Tensor:
    """Mean cross entropy over the pixels of a uint8 target (B, H, W) that are not 255; 0 where all of them are.

    DeepLab v2 compared at its stride of 8, which loses thin things. Its successor (Chen et al., 2017) found that
    comparing at full size is better, but that costs pixels times classes. Labels come from a grid of stride 4: the
    logits are upsampled to it and the target is sampled there, which keeps all detail at a sixteenth of the cost.

    Raises:
        ValueError: the logits are not at a stride, a power of two, of the target.
    """
    stride = _stride(logits_BChw, target_BHW)
    step = min(stride, 4)
    rows, columns = (
        torch.arange(step // 2, n + step // 2, step, device=target_BHW.device).clamp(max=n - 1)
        for n in target_BHW.shape[-2:]
    )
    sampled = target_BHW[:, rows][:, :, columns].long()
    logits = upsample(logits_BChw.float(), stride // step, sampled)
    total = F.cross_entropy(logits, sampled, ignore_index=IGNORED, reduction="sum")
    return total / (sampled != IGNORED).sum().clamp(min=1)


@torch.no_grad()
def probabilities(
    model: nn.Module, image_13HW: Tensor, scales: Sequence[float] = (0.5, 1, 1.5, 2), flip: bool = True
) -> Tensor:
    """Probabilities of classes and background, float32 (C, H, W): the mean over scales and mirror images.

    `image_13HW` is float in 0..255; the model is in evaluation mode. Peak memory is twice that of the answer.
    """
    height, width = image_13HW.shape[-2:]
    total: Tensor | None = None
    for scale in scales:
        seen = rescale(image_13HW, scale)
        for mirrored in (False, True)[: 1 + flip]:
            logits = model(seen.flip(-1) if mirrored else seen).float()
            p = _to_image(logits.flip(-1) if mirrored else logits, seen, height, width)[0]
            # In place: each copy of a large image's classes takes much memory.
            p.sub_(p.amax(0)).exp_()
            p.div_(p.sum(0))
            total = p if total is None else total.add_(p)
    if total is None:
        raise ValueError("Expected at least one scale, got none.")
    return total.div_(len(scales) * (1 + flip))


def _to_image(logits_BChw: Tensor, seen_B3HW: Tensor, height: int, width: int) -> Tensor:
    """Logits of a resized image, upsampled bilinearly to the image's own size; each cell keeps its place."""
    stride = _stride(logits_BChw, seen_B3HW)
    # Where the size is no multiple of the stride, cells overhang the image, and the ratio of the two sizes is not the
    # factor. The factor is a trifle larger than exact, so that rounding does not cost the last pixel.
    factors = [stride * n / m * (1 + 1e-6) for n, m in zip((height, width), seen_B3HW.shape[-2:], strict=True)]
    big = F.interpolate(
        logits_BChw, scale_factor=factors, mode="bilinear", align_corners=False, recompute_scale_factor=False
    )
    return big[..., :height, :width]


def _stride(logits_BChw: Tensor, pixels: Tensor) -> int:
    for stride in (1, 2, 4, 8, 16, 32):
        if all(-(-n // stride) == cells for n, cells in zip(pixels.shape[-2:], logits_BChw.shape[-2:], strict=True)):
            return stride
    raise ValueError(f"Expected logits at a stride up to 32 of {tuple(pixels.shape)}, got {tuple(logits_BChw.shape)}.")


def _check_classes(classes: int) -> None:
    if not 1 <= classes <= MAX_CLASSES:
        raise ValueError(f"Expected 1 to {MAX_CLASSES} classes (a class map is uint8), got {classes}.")


def _of_torchvision(name: str, classes: int) -> Segmenter:
    names = torchvision.models.list_models(module=torchvision.models.segmentation)
    if name not in names:
        raise ValueError(f"Unknown segmentation network {name!r}: choose one of v2, {', '.join(names)}.")
    _check_classes(classes)
    network = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=classes + 1)
    level = None if isinstance(network, LRASPP) else "out"
    return Segmenter(network.backbone, network.classifier, level, IMAGENET)
