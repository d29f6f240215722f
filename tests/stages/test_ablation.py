"""The paper's simpler methods: instances without a displacement field, and semantic labels from AffinityNet."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pycocotools import mask as coco
from safetensors.torch import load, save
from scipy import ndimage

from irnet_ray.algorithms.seed_methods import METHODS
from irnet_ray.commands.plan import Plan
from irnet_ray.engine.mapping import MapStage
from irnet_ray.masks import decode_cam, decode_png, encode_cam, encode_png
from irnet_ray.networks.affinitynet import AffinityNet
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.batch_norm import fold_batch_norm
from irnet_ray.networks.weights import imagenet_state, load_backbone
from irnet_ray.runs.folder import Folder
from irnet_ray.stages import ablation
from irnet_ray.stages.ablation import AblationNetwork
from irnet_ray.stages.images import load_image
from irnet_ray.stages.labels import LabelsNetwork
from irnet_ray.stages.rows import Ablated, Masks
from irnet_ray.stages.seeds import SeedsNetwork


@pytest.fixture
def affinitynet(plan: Plan) -> Folder:
    """The folder of an AffinityNet that has ImageNet's backbone and random layers."""
    torch.manual_seed(0)
    network = AffinityNet(BACKBONES["lite0"])
    load_backbone(network.backbone, imagenet_state(BACKBONES["lite0"]), "lite0")
    fold_batch_norm(network.backbone.eval())
    folder = plan.out.folder("stages", "affinitynet-0123")
    folder.write("weights.safetensors", save(network.state_dict()))
    return folder


def row_of(plan: Plan) -> dict[str, Any]:
    """The row of an image with several tags, each with attention in a square of its own."""
    row = next(row for row in plan.table.to_pylist() if len(row["tags"]) > 1)
    cam = np.zeros((len(row["tags"]), 24, 32), np.float32)
    for number in range(len(cam)):
        cam[number, 4:16, 10 * number + 2 : 10 * number + 9] = 1
    ids = [plan.vocabulary.index(tag) for tag in row["tags"]]
    confident = encode_png(np.zeros((96, 128), np.uint8))
    return {**row, "class_ids": ids, **encode_cam(cam), "attention": None, "confident_map": confident}


def stage_of(plan: Plan, classifier: Folder, irnet: Folder, affinitynet: Folder) -> MapStage:
    images, seeds = plan.shards("images"), plan.shards("seeds")
    return ablation.stage(plan.config, images, seeds, plan.vocabulary, classifier, irnet, affinitynet)


def test_an_image_gives_a_row_of_ablation(plan: Plan, classifier: Folder, irnet: Folder, affinitynet: Folder) -> None:
    stage = stage_of(plan, classifier, irnet, affinitynet)
    row = row_of(plan)
    made = stage.finish(row, stage.network(False)(row, stage.load(row)))
    pa.Table.from_pylist([{"uri": row["uri"], **made}], stage.schema)
    assert (made["image_id"], made["tags"], made["width"], made["height"]) == (
        row["image_id"],
        row["tags"],
        128,
        96,
    )
    semantic = decode_png(made["affinitynet_semantic"])
    assert semantic.shape == (96, 128) and set(np.unique(semantic)) <= set(range(len(row["tags"]) + 1))
    assert made["boundary_instances"] and semantic.any()
    # Prototypes need the CAM at scale 1 only. The comparison needs the paper's CAM, over all scales.
    method, class_of = METHODS[plan.config.seeds.method], {tag: k for k, tag in enumerate(plan.vocabulary)}
    network = SeedsNetwork(plan.config, BACKBONES["lite0"], method, class_of, classifier, None, gpu=False)
    cam = network.cam(row["tags"], load_image(row["uri"], 1280), plan.config.seeds.scales)
    assert np.allclose(decode_cam(made), cam, atol=1e-3) and cam.shape == (len(row["tags"]), 24, 32)


def test_the_cam_of_the_row_is_used_if_it_is_over_all_scales(
    plan: Plan, classifier: Folder, irnet: Folder, affinitynet: Folder
) -> None:
    config = plan.config.model_copy(update={"seeds": plan.config.seeds.model_copy(update={"method": "cam"})})
    row = row_of(plan)
    made = AblationNetwork(
        config,
        BACKBONES["lite0"],
        METHODS[config.seeds.method],
        plan.vocabulary,
        classifier,
        irnet,
        affinitynet,
        gpu=False,
    )
    assert np.array_equal(made.cam(row, load_image(row["uri"], 1280)), decode_cam(row))


def test_without_a_field_instances_are_the_connected_parts_of_the_semantic_label(
    plan: Plan, classifier: Folder, irnet: Folder, affinitynet: Folder
) -> None:
    row = row_of(plan)
    image = load_image(row["uri"], 1280)
    labels = LabelsNetwork(plan.config, BACKBONES["lite0"], irnet, gpu=False)(row, image)
    found = AblationNetwork(
        plan.config,
        BACKBONES["lite0"],
        METHODS[plan.config.seeds.method],
        plan.vocabulary,
        classifier,
        irnet,
        affinitynet,
        gpu=False,
    )(row, image).boundary
    assert np.array_equal(found.semantic, labels.semantic)  # which does not depend on the field
    parts = set()
    for number in range(1, len(row["tags"]) + 1):
        marked, count = ndimage.label(found.semantic == number)
        parts |= {(number - 1, (marked == part).tobytes()) for part in range(1, count + 1)}
    large = {part for part in parts if np.frombuffer(part[1], bool).sum() >= 0.01 * image.shape[0] * image.shape[1]}
    assert large == {(int(k), mask.tobytes()) for k, mask in zip(found.class_index, found.masks, strict=True)}


def test_attention_stays_where_the_embedding_changes(
    plan: Plan, classifier: Folder, irnet: Folder, affinitynet: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two flat halves that differ much: attention on a corner fills its half and nothing else.
    network = AblationNetwork(
        plan.config,
        BACKBONES["lite0"],
        METHODS[plan.config.seeds.method],
        plan.vocabulary,
        classifier,
        irnet,
        affinitynet,
        gpu=False,
    )
    halves = torch.zeros(8, 24, 32)
    halves[:, :, 16:] = 20
    monkeypatch.setattr(network.network, "predict", lambda image, scale: halves)
    attention = np.zeros((1, 24, 32), np.float32)
    attention[0, 4:20, :8] = 1
    label = network.affinitynet(attention, np.zeros((96, 128, 3), np.uint8))
    assert label[:, :62].all() and not label[:, 66:].any()


def test_results_have_the_image_s_own_size_at_any_working_size(
    plan: Plan, classifier: Folder, irnet: Folder, affinitynet: Folder
) -> None:
    stage = stage_of(plan, classifier, irnet, affinitynet)
    row, mask = row_of(plan), np.zeros((1, 48, 64), bool)
    mask[0, 10:20, 30:50] = True
    semantic = mask[0].astype(np.uint8)
    masks = Masks(mask, np.array([0]), np.array([0.5]), np.array([0.9]), semantic)
    made = stage.finish(row, Ablated(masks, semantic, decode_cam(row)))
    (instance,) = made["boundary_instances"]
    decoded = coco.decode({"size": [96, 128], "counts": instance["rle"].encode()})
    assert np.array_equal(decoded, semantic.repeat(2, 0).repeat(2, 1))
    assert np.array_equal(decode_png(made["affinitynet_semantic"]), decoded)


def test_broken_weights_are_an_error_and_not_a_row(
    plan: Plan, classifier: Folder, irnet: Folder, affinitynet: Folder
) -> None:
    state = load(affinitynet.read("weights.safetensors"))
    state["last.weight"][0] = torch.nan
    affinitynet.write("weights.safetensors", save(state))
    network = AblationNetwork(
        plan.config,
        BACKBONES["lite0"],
        METHODS[plan.config.seeds.method],
        plan.vocabulary,
        classifier,
        irnet,
        affinitynet,
        gpu=False,
    )
    with pytest.raises(FloatingPointError, match="AffinityNet's output is not finite"):
        network.affinitynet(np.zeros((1, 16, 16), np.float32), np.zeros((64, 64, 3), np.uint8))


def test_another_network_s_weights_are_refused(plan: Plan, classifier: Folder, irnet: Folder) -> None:
    with pytest.raises(ValueError, match=r"irnet-\w+ holds weights of another network"):
        AblationNetwork(
            plan.config,
            BACKBONES["lite0"],
            METHODS[plan.config.seeds.method],
            plan.vocabulary,
            classifier,
            irnet,
            irnet,
            gpu=False,
        )
