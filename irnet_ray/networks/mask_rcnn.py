"""Mask R-CNN (He et al., ICCV 2017), the student that learns from instance labels (paper 6.3).

It is torchvision's own, on a backbone's body. Images are float (3, H, W) in 0..255, each of its own size: the network
resizes and normalizes them itself. Class 0 is the background.

Shape suffixes: N instances, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.transform import resize_boxes

from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.bodies import load_body
from irnet_ray.networks.feature_pyramid import build_pyramid

MASK_THRESHOLD = 0.5
_TERMS = {
    "loss_classifier": "classifier",
    "loss_box_reg": "box",
    "loss_mask": "mask",
    "loss_objectness": "objectness",
    "loss_rpn_box_reg": "rpn_box",
}


@dataclass(frozen=True)
class Budget:
    """How many anchors, proposals and regions of an image the network works on. The defaults are torchvision's."""

    candidates_train: int = 2000
    """Best anchors of each level, in training, before overlapping ones are dropped."""
    candidates_predict: int = 1000
    """The same in prediction."""
    proposals_train: int = 2000
    """Best proposals of an image, in training, after overlapping ones are dropped."""
    proposals_predict: int = 1000
    """The same in prediction."""
    anchors_per_image: int = 256
    """Anchors that the region proposal network's loss samples."""
    regions_per_image: int = 512
    """Regions that the heads' loss samples; up to a quarter of them are instances, which get a mask."""
    detections_per_image: int = 100
    """Most detections of an image."""


SMALL = Budget(
    candidates_train=500,
    candidates_predict=500,
    proposals_train=256,
    proposals_predict=256,
    anchors_per_image=64,
    regions_per_image=64,
)
"""For a processor, where the heads cost most, in proportion to regions.

The paper takes 64 regions without a pyramid (He et al., 3.1). Of 256 anchors of a small image nearly all would be
background, and a short training would not learn to propose.
"""


class Detections(NamedTuple):
    """The instances of one image, the most certain first."""

    masks: Tensor
    """bool (N, H, W), at the size of the image; none is empty."""
    class_index: Tensor
    """int64 (N,), from 0 for the first class: the background is no class here."""
    score: Tensor
    """float32 (N,) in [0, 1]."""


def build_mask_rcnn(
    backbone: Backbone,
    classes: int,
    *,
    min_sizes: tuple[int, ...],
    max_size: int,
    budget: Budget = Budget(),  # noqa: B008 - it is frozen
    weights: dict[str, Tensor] | None = None,
    source: str = "The given state",
) -> MaskRCNN:
    """Mask R-CNN of `classes` classes and the background on a feature pyramid, ready to train.

    Args:
        backbone: of `backbones.find_backbone`; its body carries the pyramid.
        classes: how many classes there are, the background not counted.
        min_sizes: training resizes each image's shorter side to one of these at random, prediction to the last; in
            pixels.
        max_size: longest side, in pixels, that an image is resized to.
        budget: how much of an image the network works on.
        weights: ImageNet weights of the backbone (of `weights.imagenet_state`); None leaves it untrained, to load a
            state dict next.
        source: where the weights come from, for errors.

    Raises:
        ValueError: there is no such network, or the weights are of another one.
        ModuleNotFoundError: a network of timm without the extra `lite`.
    """
    pyramid = build_pyramid(backbone)
    if weights is not None:
        load_body(pyramid.body, weights, source)
    model = MaskRCNN(
        pyramid,
        classes + 1,
        min_size=min_sizes,
        max_size=max_size,
        image_mean=list(pyramid.mean),
        image_std=list(pyramid.std),
        rpn_pre_nms_top_n_train=budget.candidates_train,
        rpn_pre_nms_top_n_test=budget.candidates_predict,
        rpn_post_nms_top_n_train=budget.proposals_train,
        rpn_post_nms_top_n_test=budget.proposals_predict,
        rpn_batch_size_per_image=budget.anchors_per_image,
        box_batch_size_per_image=budget.regions_per_image,
        box_detections_per_img=budget.detections_per_image,
    )
    # For few classes torchvision draws them so large that the mask loss starts at 10 instead of log 2.
    torch.nn.init.normal_(model.roi_heads.mask_predictor.mask_fcn_logits.weight, std=0.001)
    return model


def losses(model: MaskRCNN, images: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The five losses of a batch by name, and `total`, their sum. The model is in training mode.

    Args:
        model: of `build_mask_rcnn`.
        images: float (3, H, W) in 0..255 each.
        targets: of each image, `boxes` float32 (N, 4) as x1, y1, x2, y2 with x1 < x2 and y1 < y2, `labels` int64
            (N,) from 1, and `masks` uint8 (N, H, W) of 0 and 1. N may be 0 for an image of background only.

    Returns:
        `total`, `classifier`, `box`, `mask`, `objectness` and `rpn_box`, scalars.
    """
    terms = model(images, targets)
    named = {_TERMS[name]: loss.float() for name, loss in terms.items()}
    return {"total": torch.stack(list(named.values())).sum(), **named}


@torch.no_grad()
def predict(model: MaskRCNN, image_3HW: Tensor) -> Detections:
    """The instances of an image, float (3, H, W) in 0..255. The model is in evaluation mode.

    Masks are pasted into the image one by one: a hundred masks of a 12-megapixel photo take 1.2 GB as bool, and would
    take 4.8 GB as float.

    Raises:
        FloatingPointError: the features are not finite. Without this check every score would silently fall below the
            threshold.
    """
    height, width = image_3HW.shape[-2:]
    seen, _ = model.transform([image_3HW])
    features = model.backbone(seen.tensors)
    if not all(bool(torch.isfinite(level).all()) for level in features.values()):
        raise FloatingPointError("Mask R-CNN's features are not finite: its weights are broken.")
    proposals, _ = model.rpn(seen, features)
    (found,), _ = model.roi_heads(features, proposals, seen.image_sizes)
    boxes = resize_boxes(found["boxes"].float(), seen.image_sizes[0], [height, width])
    masks_NHW = torch.zeros(len(boxes), height, width, dtype=torch.bool, device=boxes.device)
    for number in range(len(boxes)):
        one = slice(number, number + 1)
        pasted = paste_masks_in_image(found["masks"][one].float(), boxes[one], (height, width))
        masks_NHW[number] = pasted[0, 0] >= MASK_THRESHOLD
    kept = masks_NHW.flatten(1).any(1) if len(boxes) else torch.zeros(0, dtype=torch.bool, device=boxes.device)
    if not kept.all():
        masks_NHW = masks_NHW[kept]
    return Detections(masks_NHW, found["labels"][kept] - 1, found["scores"][kept].float())
