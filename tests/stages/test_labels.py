"""Labels: masks at the image's own size, classes by the vocabulary, rows that fit their table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra import numpy as npst
from pycocotools import mask as coco
from safetensors.torch import load, save

from irnet_ray import tables
from irnet_ray.commands.plan import Plan
from irnet_ray.masks import decode_png, encode_cam, encode_mask
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.runs.folder import Folder
from irnet_ray.stages import labels
from irnet_ray.stages.labels import LabelsNetwork, Relations
from irnet_ray.stages.rows import Masks


@given(npst.arrays(bool, npst.array_shapes(min_dims=2, max_dims=2, max_side=30)))
@settings(max_examples=50)
def test_masks_come_back_from_their_columns(mask: np.ndarray) -> None:
    columns = encode_mask(mask)
    back = coco.decode({"size": list(mask.shape), "counts": columns["rle"].encode()})
    assert np.array_equal(back.astype(bool), mask)
    assert columns["area"] == mask.sum()
    if mask.any():
        ys, xs = np.nonzero(mask)
        assert columns["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]


def row_of(plan: Plan) -> dict[str, Any]:
    """The input row of an image with several tags, each with attention in a square of its own."""
    row = next(row for row in plan.table.to_pylist() if len(row["tags"]) > 1)
    cam = np.zeros((len(row["tags"]), 24, 32), np.float32)
    for number in range(len(cam)):
        cam[number, 4:16, 10 * number + 2 : 10 * number + 9] = 1
    ids = [plan.vocabulary.index(tag) for tag in row["tags"]]
    return {**row, "class_ids": ids, **encode_cam(cam), "attention": None}


def test_an_image_gives_a_row_of_labels(plan: Plan, irnet: Folder) -> None:
    stage = labels.stage(plan.config, plan.shards("images"), plan.shards("seeds"), irnet, "0123")
    row = row_of(plan)
    made = stage.finish(row, stage.network(False)(row, stage.load(row)))
    assert stage.name == "labels" and made["fingerprint"] == "0123"
    pa.Table.from_pylist([{"uri": row["uri"], **made}], tables.LABELS)
    assert decode_png(made["semantic"]).shape == (96, 128)
    for instance in made["instances"]:
        assert plan.vocabulary[instance["class_id"]] == instance["class_name"] in row["tags"]
        assert 0 <= instance["score"] <= 1 and 0 <= instance["quality"] <= 1 and instance["area"] > 0


def test_labels_have_the_image_s_own_size_at_any_working_size(plan: Plan, irnet: Folder) -> None:
    stage = labels.stage(plan.config, plan.shards("images"), plan.shards("seeds"), irnet, "0123")
    row = row_of(plan)
    mask = np.zeros((1, 48, 64), bool)
    mask[0, 10:20, 30:50] = True
    semantic = np.where(mask[0], 2, 0).astype(np.uint8)
    made = stage.finish(row, Masks(mask, np.array([1]), np.array([0.5]), np.array([0.9]), semantic))
    (instance,) = made["instances"]
    assert (instance["class_name"], instance["class_id"]) == (row["tags"][1], row["class_ids"][1])
    assert (instance["area"], instance["bbox"]) == (800, [60.0, 20.0, 40.0, 20.0])
    assert np.array_equal(decode_png(made["semantic"]), semantic.repeat(2, 0).repeat(2, 1))


def test_an_image_without_instances_has_a_row(plan: Plan, irnet: Folder) -> None:
    stage = labels.stage(plan.config, plan.shards("images"), plan.shards("seeds"), irnet, "0123")
    row = row_of(plan)
    nothing = encode_cam(np.zeros((len(row["tags"]), 24, 32)))
    made = stage.finish(row, stage.network(False)({**row, **nothing}, stage.load(row)))
    assert made["instances"] == [] and not decode_png(made["semantic"]).any()


def test_relations_are_boundary_and_field_at_stride_four(plan: Plan, irnet: Folder) -> None:
    network = LabelsNetwork(plan.config, BACKBONES["lite0"], irnet, gpu=False)
    image = np.random.default_rng(0).integers(0, 256, (65, 97, 3), np.uint8)
    ((boundary, field),) = network.relations([image])
    assert (tuple(boundary.shape), tuple(field.shape)) == ((17, 25), (2, 17, 25))
    assert 0 <= float(boundary.min()) <= float(boundary.max()) <= 1


def test_the_boundary_is_the_maximum_over_scales_and_the_field_is_the_mean(plan: Plan, irnet: Folder) -> None:
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)

    def at(*scales: float) -> Relations:
        knobs = plan.config.labels.model_copy(update={"boundary_scales": scales})
        return LabelsNetwork(
            plan.config.model_copy(update={"labels": knobs}), BACKBONES["lite0"], irnet, gpu=False
        ).relations([image])[0]

    one, two, three = at(), at(1.5), at(1.5, 1.0)
    assert (two.boundary >= one.boundary).all() and (two.boundary > one.boundary).any()
    # The mean over three scales, two of them equal, gives the field at the third.
    other = 2 * two.field - one.field
    assert not torch.allclose(other, one.field, atol=1e-3)
    torch.testing.assert_close(three.field, (2 * one.field + other) / 3, rtol=1e-3, atol=1e-3)
    assert torch.equal(at(1.0).boundary, one.boundary) and torch.equal(at(1.0).field, one.field)


def test_images_that_the_network_sees_at_one_size_share_a_batch(plan: Plan, irnet: Folder) -> None:
    network = LabelsNetwork(plan.config, BACKBONES["lite0"], irnet, gpu=False)
    sizes = [(96, 128), (64, 64), (97, 127), (96, 128), (128, 96), (96, 129), (96, 128), (960, 1280)]
    images = [np.zeros((*size, 3), np.uint8) for size in sizes]
    assert sorted(map(tuple, network.batches(images))) == [(n,) for n in range(8)]  # a CPU takes them one by one
    network.pixels = 2 * (128 * 176) + 1  # pixels of two images of 96x128, scaled by 1.33
    assert sorted(map(tuple, network.batches(images))) == [(0, 2), (1,), (3, 5), (4,), (6,), (7,)]
    assert network.batches([]) == []


@pytest.mark.parametrize("gpu", [False, pytest.param(True, marks=pytest.mark.gpu)])
def test_a_batch_gives_the_labels_of_each_image_alone(plan: Plan, irnet: Folder, gpu: bool) -> None:
    network = LabelsNetwork(plan.config, BACKBONES["lite0"], irnet, gpu=gpu)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in ((96, 128), (97, 127), (94, 130))]
    together, alone = network.relations(images), [network.relations([image])[0] for image in images]
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both.boundary, one.boundary, rtol=0.02, atol=0.02)
        torch.testing.assert_close(both.field, one.field, rtol=0.02, atol=0.02 * float(one.field.abs().max()))
    assert not torch.allclose(alone[0].boundary[:23, :31], alone[1].boundary[:23, :31], atol=0.02)
    row = row_of(plan)
    cams = [np.ones((len(row["tags"]), *each.boundary.shape), np.float32) for each in alone]
    several = network.run_batch([{**row, **encode_cam(cam)} for cam in cams], images)
    for made, cam, relations, image in zip(several, cams, together, images, strict=True):
        kept = network.synthesize(cam, relations, image.shape[:2])
        assert all(np.array_equal(*pair) for pair in zip(made, kept, strict=True))


def test_centroids_of_a_longer_field_are_wider(plan: Plan, irnet: Folder) -> None:
    rows, columns = np.indices((24, 32))
    field = np.stack([12 - rows, np.where(columns < 16, 8, 24) - columns])  # points to one of two centroids
    relations = Relations(torch.zeros(24, 32), torch.from_numpy(field).float())

    def found(share: float) -> int:
        knobs = plan.config.labels.model_copy(update={"centroid_share": share})
        network = LabelsNetwork(plan.config.model_copy(update={"labels": knobs}), BACKBONES["lite0"], irnet, gpu=False)
        return len(network.synthesize(np.ones((1, 24, 32), np.float32), relations, (96, 128)).masks)

    assert (found(0), found(0.15), found(0.9)) == (2, 2, 1)


def test_broken_weights_raise_an_error(plan: Plan, irnet: Folder) -> None:
    state = load(irnet.read("weights.safetensors"))
    state["displacement.mean"] = torch.full((2,), torch.nan)
    irnet.write("weights.safetensors", save(state))
    with pytest.raises(FloatingPointError, match="not finite"):
        LabelsNetwork(plan.config, BACKBONES["lite0"], irnet, gpu=False).relations([np.zeros((64, 64, 3), np.uint8)])


def test_another_stage_s_weights_are_refused(plan: Plan, classifier: Folder) -> None:
    with pytest.raises(ValueError, match=r"classifier-\w+ holds weights of another network"):
        LabelsNetwork(plan.config, BACKBONES["lite0"], classifier, gpu=False)


def test_an_image_without_a_tag_has_no_instance_and_needs_no_network(plan: Plan, irnet: Folder) -> None:
    stage = labels.stage(plan.config, plan.shards("images"), plan.shards("seeds"), irnet, "0123")
    network = stage.network(False)
    nothing = {**row_of(plan), "tags": [], "class_ids": [], **encode_cam(np.zeros((0, 24, 32), np.float32))}
    image = stage.load(nothing)
    network.relations = lambda images: pytest.fail("IRNet saw an image of nothing")
    made = stage.finish(nothing, network(nothing, image))
    assert made["instances"] == [] and not decode_png(made["semantic"]).any()


def test_images_of_nothing_do_not_move_the_others_of_a_batch(plan: Plan, irnet: Folder) -> None:
    stage = labels.stage(plan.config, plan.shards("images"), plan.shards("seeds"), irnet, "0123")
    network, row = stage.network(False), row_of(plan)
    nothing = {**row, "tags": [], "class_ids": [], **encode_cam(np.zeros((0, 24, 32), np.float32))}
    image = stage.load(row)
    found = network.run_batch([nothing, row, nothing], [image] * 3)
    assert [bool(len(one.masks)) for one in found] == [False, True, False]
    assert np.array_equal(found[1].semantic, network(row, image).semantic)
