"""AffinityNet's training task: its pairs, and a loss that falls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from irnet_ray.algorithms.affinity import offsets
from irnet_ray.commands.plan import Plan
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.weights import load_weights
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.stages import affinitynet
from irnet_ray.stages.affinitynet import AffinityNetTask


@pytest.fixture
def task(plan: Plan, truth_seeds: Shards, classifier: Folder) -> AffinityNetTask:
    """The task on seeds whose confident maps are the truth."""
    torch.manual_seed(0)
    return AffinityNetTask(plan.config, BACKBONES["lite0"], plan.shards("images"), truth_seeds, classifier)


def test_its_radius_is_irnet_s_in_larger_cells(task: AffinityNetTask, plan: Plan) -> None:
    ours = {(2 * dy, 2 * dx) for dy, dx in offsets(task.radius)}
    assert ours == {(dy, dx) for dy, dx in offsets(plan.config.irnet.radius) if dy % 2 == dx % 2 == 0}


def test_it_has_its_own_schedule_and_irnet_s_batch_size(plan: Plan) -> None:
    stage = affinitynet.stage(plan.config, plan.shards("images"), plan.shards("seeds"), plan.stage("classifier"), 6)
    assert (stage.name, stage.schedule.batch_size, stage.schedule.iterations) == ("affinitynet", 2, 1002)
    assert stage.weight_decay == plan.config.affinitynet.weight_decay


@pytest.mark.parametrize("crop", [64, 100])
def test_maps_fit_the_embedding_at_any_crop(plan: Plan, task: AffinityNetTask, crop: int) -> None:
    knobs = {**plan.config.model_dump(), "irnet": {"crop": crop}}
    config = type(plan.config).model_validate(knobs)
    made = AffinityNetTask(
        config, BACKBONES["lite0"], plan.shards("images"), plan.shards("seeds"), plan.stage("classifier")
    )
    sample = made.sample(0, np.random.default_rng(0))
    with torch.no_grad():
        embedding = made.model(sample["image"][None].float())
    assert sample["class_map"].shape == embedding.shape[2:]


def test_all_layers_except_the_backbone_learn(task: AffinityNetTask) -> None:
    (group,) = task.groups()
    own = [*task.model.reduce.parameters(), *task.model.last.parameters()]
    assert {id(p) for p in group["params"]} == {id(p) for p in own}


@torch.no_grad()
def test_the_backbone_comes_from_the_trained_classifier(task: AffinityNetTask, plan: Plan, classifier: Folder) -> None:
    network = Classifier(BACKBONES["lite0"], len(plan.vocabulary))
    load_weights(network, classifier.read("weights.safetensors"), "the classifier")
    image = torch.rand(1, 3, 64, 64) * 255
    for level, expected in zip(task.model.backbone(image), network.eval().backbone(image), strict=True):
        assert torch.allclose(level, expected, rtol=1e-3, atol=1e-3)  # folded


def test_affinities_learn_their_scenes(task: AffinityNetTask) -> None:
    pairs = [task.samples.pair(index) for index in range(2)]
    batch = {
        "image": torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image, _ in pairs])),
        "class_map": torch.from_numpy(np.stack([class_map[4::8, 4::8] for _, class_map in pairs])),
    }
    task.model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(task.groups())
    seen: list[dict[str, float]] = []
    for step in range(40):
        optimizer.param_groups[0]["lr"] = task.rate * (1 - step / 40) ** 0.9
        losses = task.losses(task.model, batch)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        seen.append({name: value.item() for name, value in losses.items()})
    first, last = seen[0], seen[-1]
    assert set(first) == {"background", "foreground", "negative", "total"}
    assert last["total"] < 0.5 * first["total"]
    # Pairs of one class are near, and pairs of two classes are far: all three terms are below chance, log 2.
    assert max(last["background"], last["foreground"], last["negative"]) < 0.69
