"""Seeds: attention of an image's own tags over scales and mirror images, and rows that fit their table."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load, save

from irnet_ray import tables
from irnet_ray.algorithms.seed_methods import METHODS
from irnet_ray.commands.plan import Plan
from irnet_ray.masks import decode_attention, decode_cam, decode_png
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.stages import seeds
from irnet_ray.stages.images import load_image
from irnet_ray.stages.rows import seeds_row


def rows(plan: Plan) -> list[dict[str, Any]]:
    return plan.table.to_pylist()


def network_of(plan: Plan, classifier: Folder, method: str, prototypes: Shards | None = None) -> seeds.SeedsNetwork:
    config = plan.config.model_copy(update={"seeds": plan.config.seeds.model_copy(update={"method": method})})
    class_of = {name: n for n, name in enumerate(plan.vocabulary)}
    return seeds.SeedsNetwork(
        config, BACKBONES["lite0"], METHODS[config.seeds.method], class_of, classifier, prototypes, gpu=False
    )


def test_an_image_gives_a_row_of_seeds(plan: Plan, classifier: Folder, prototypes: Shards) -> None:
    stage = seeds.stage(plan.config, plan.shards("images"), plan.vocabulary, classifier, prototypes)
    network = stage.network(False)
    for row in rows(plan)[:3]:
        image = stage.load(row)
        made = stage.finish(row, network(row, image))
        table = pa.Table.from_pylist([made], tables.SEEDS)
        assert table.to_pylist()[0]["image_id"] == row["image_id"]
        assert [plan.vocabulary[i] for i in made["class_ids"]] == row["tags"]
        cam = decode_cam(made)
        assert cam.shape == (len(row["tags"]), 24, 32)
        assert cam.min() >= 0 and np.allclose(cam.max(axis=(1, 2)), 1, atol=1e-3)
        confident = decode_png(made["confident_map"])
        assert confident.shape == (96, 128)
        attention = decode_attention(made)
        assert attention.shape == cam.shape and not np.allclose(attention, cam, atol=0.01)
        assert attention.min() >= 0 and attention.max() <= 1
        assert set(np.unique(confident)) <= {0, 255, *range(1, len(row["tags"]) + 1)}


@pytest.mark.parametrize("method", METHODS)
def test_attention_has_the_row_s_tags_in_their_order(
    plan: Plan, classifier: Folder, prototypes: Shards, method: str
) -> None:
    network = network_of(plan, classifier, method, prototypes)
    row = next(row for row in rows(plan) if len(row["tags"]) > 1)
    image = np.asarray(load_image(row["uri"], 1280))
    whole = network(row, image)
    swapped = network({**row, "tags": row["tags"][::-1]}, image)
    assert np.allclose(swapped.full[::-1], whole.full, atol=1e-4)
    alone = network({**row, "tags": row["tags"][:1]}, image)
    assert np.allclose(alone.full[0], whole.full[0], atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_mirror_image_has_mirrored_seeds(plan: Plan, classifier: Folder, prototypes: Shards, method: str) -> None:
    network = network_of(plan, classifier, method, prototypes)
    row = rows(plan)[0]
    image = np.asarray(load_image(row["uri"], 1280))
    one, other = network(row, image), network(row, np.ascontiguousarray(image[:, ::-1]))
    assert np.abs(one.full - other.full[..., ::-1]).max() < 0.02


def test_prototypes_use_one_scale_and_other_methods_use_all(plan: Plan, classifier: Folder, prototypes: Shards) -> None:
    row = rows(plan)[0]
    image = np.asarray(load_image(row["uri"], 1280))
    networks = [network_of(plan, classifier, method, prototypes) for method in ("cam", "correlation", "prototypes")]
    cam, correlation, both = (network(row, image) for network in networks)
    assert np.array_equal(cam.cam, correlation.cam)
    assert cam.chosen is None and both.chosen is not None and correlation.chosen is not None
    assert np.allclose(both.cam, networks[0].cam(row["tags"], image, [1.0]), atol=1e-6)
    assert np.allclose(cam.cam, networks[2].cam(row["tags"], image, plan.config.seeds.scales), atol=1e-6)
    assert not np.allclose(cam.cam, both.cam, atol=0.01)


def test_a_tag_without_prototypes_uses_its_cam(plan: Plan, classifier: Folder, prototypes: Shards) -> None:
    row = rows(plan)[0]
    image = np.asarray(load_image(row["uri"], 1280))
    both = network_of(plan, classifier, "prototypes", prototypes)(row, image)
    single = plan.config.model_copy(update={"seeds": plan.config.seeds.model_copy(update={"scales": (1.0,)})})
    spread = network_of(replace(plan, config=single), classifier, "correlation")(row, image).chosen
    lost = Shards(plan.out.folder("lost"), plan.shard_count)
    for shard in range(lost.count):
        lost.seal(shard, tables.PROTOTYPES, [])
    without = network_of(plan, classifier, "prototypes", lost)(row, image).chosen
    assert np.array_equal(spread, without) and not np.allclose(spread, both.chosen, atol=0.01)


def test_broken_weights_raise_an_error(plan: Plan, classifier: Folder) -> None:
    state = load(classifier.read("weights.safetensors"))
    state["classifier.weight"] = torch.full_like(state["classifier.weight"], torch.inf)
    classifier.write("weights.safetensors", save(state))
    network = network_of(plan, classifier, "cam")
    with pytest.raises(FloatingPointError, match="not finite"):
        network(rows(plan)[0], np.zeros((64, 64, 3), np.uint8) + 99)


@pytest.mark.parametrize("method", METHODS)
def test_an_image_without_a_tag_is_all_background(
    plan: Plan, classifier: Folder, prototypes: Shards, method: str
) -> None:
    row = {**rows(plan)[0], "tags": []}
    found = network_of(plan, classifier, method, prototypes)(row, np.asarray(load_image(row["uri"], 1280)))
    assert found.cam.shape == (0, 24, 32) and found.full.shape == (0, 96, 128)
    made = seeds_row(plan.config, {}, row, found)
    assert made["class_ids"] == [] and not decode_png(made["confident_map"]).any()
