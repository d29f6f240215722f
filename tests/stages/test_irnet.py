"""IRNet's training task: its rates and losses, and the mean displacement."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from irnet_ray.commands.plan import Plan
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.inference import precision
from irnet_ray.runs.shards import Shards
from irnet_ray.stages import irnet
from irnet_ray.stages.classifier import ClassifierTask
from irnet_ray.stages.images import load_image
from irnet_ray.stages.irnet import IRNetTask


@pytest.fixture
def task(plan: Plan, truth_seeds: Shards) -> IRNetTask:
    """The task on seeds whose confident maps are the truth."""
    classifier = ClassifierTask(plan.config, BACKBONES["lite0"], plan.shards("images"), plan.vocabulary)
    plan.stage("classifier").write("weights.safetensors", save(classifier.model.state_dict()))
    torch.manual_seed(0)
    return IRNetTask(plan.config, BACKBONES["lite0"], plan.shards("images"), truth_seeds, plan.stage("classifier"))


@torch.no_grad()
def test_the_backbone_comes_from_the_trained_classifier(task: IRNetTask, plan: Plan) -> None:
    trained = ClassifierTask(plan.config, BACKBONES["lite0"], plan.shards("images"), plan.vocabulary).model
    state = load(plan.stage("classifier").read("weights.safetensors"))
    state["backbone.conv_stem.weight"] += 0.01  # no longer ImageNet's
    plan.stage("classifier").write("weights.safetensors", save(state))
    trained.load_state_dict(state)
    rebuilt = IRNetTask(
        plan.config, BACKBONES["lite0"], plan.shards("images"), plan.shards("seeds"), plan.stage("classifier")
    )
    image = torch.rand(1, 3, 64, 64) * 255
    for level, expected, before in zip(
        rebuilt.model.backbone(image), trained.eval().backbone(image), task.model.backbone(image), strict=True
    ):
        assert torch.allclose(level, expected, rtol=1e-3, atol=1e-3)  # folded
        assert not torch.allclose(level, before, rtol=1e-3, atol=1e-3)


def test_the_displacement_branch_learns_ten_times_faster(task: IRNetTask) -> None:
    boundary, displacement = task.groups()
    assert displacement["lr"] == pytest.approx(10 * boundary["lr"])
    grouped = {id(p) for group in (boundary, displacement) for p in group["params"]}
    assert grouped == {id(p) for p in task.model.parameters() if p.requires_grad}


def test_the_schedule_counts_images_with_seeds(plan: Plan) -> None:
    stage = irnet.stage(plan.config, plan.shards("images"), plan.shards("seeds"), plan.stage("classifier"), 6)
    assert (stage.name, stage.schedule.batch_size, stage.schedule.iterations) == ("irnet", 2, 1002)


def fixed_batch(task: IRNetTask, count: int) -> dict[str, torch.Tensor]:
    pairs = [task.samples.pair(index) for index in range(count)]
    return {
        "image": torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image, _ in pairs])),
        "class_map": torch.from_numpy(np.stack([class_map[2::4, 2::4] for _, class_map in pairs])),
    }


def test_the_reported_terms_are_the_minimized_ones(task: IRNetTask) -> None:
    task.model.train()
    losses = task.losses(task.model, fixed_batch(task, 2))
    assert set(losses) == {"total", "displacement_foreground", "displacement_background", "boundary_negative"}
    assert all(value.requires_grad and value.ndim == 0 for value in losses.values())
    losses["total"].backward()
    assert [name for name, p in task.model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_the_weight_of_background_pairs_rises(task: IRNetTask) -> None:
    batch = fixed_batch(task, 2)
    task.model.train()
    totals = []
    for done in (0.0, 0.2, 0.4, 1.0):
        task.advance(done)
        losses = task.losses(task.model, batch)
        totals.append(losses["total"].item())
    half = losses["displacement_background"].item() / 2
    expected = [totals[0] + weight * half for weight in (0, 0.5, 1, 1)]
    assert half > 0 and totals == pytest.approx(expected, rel=1e-4)


def test_displacements_learn_their_scenes(task: IRNetTask) -> None:
    batch = fixed_batch(task, 2)
    task.model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(task.groups())
    rates = [group["lr"] for group in optimizer.param_groups]
    seen: list[dict[str, float]] = []
    for step in range(60):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / 60) ** 0.9
        losses = task.losses(task.model, batch)
        optimizer.zero_grad()
        losses["total"].backward()
        optimizer.step()
        seen.append({name: value.item() for name, value in losses.items()})
    first, last = ({name: np.mean([s[name] for s in part]) for name in seen[0]} for part in (seen[:1], seen[-10:]))
    # A field of zeros costs the mean distance of a pair.
    assert first["displacement_foreground"] > 3
    assert last["displacement_foreground"] < 0.5 * first["displacement_foreground"]
    # Both parts of the boundary loss together: random weights may start with a boundary everywhere.
    boundary = [s["total"] - (s["displacement_foreground"] + s["displacement_background"]) / 2 for s in (first, last)]
    assert boundary[1] < 0.8 * boundary[0]


def test_the_mean_displacement_of_the_training_images_becomes_zero(task: IRNetTask) -> None:
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    with torch.no_grad():
        # Far from zero, as a trained branch may be: the losses compare pairs, so they leave the mean free.
        last = task.model.displacement.decode[-1]
        assert isinstance(last, torch.nn.Conv2d)
        last.weight.uniform_(0, 0.1)
    task.model.displacement.mean.fill_(99.0)
    task.finish(cpu, 0, 1)
    assert task.model.displacement.training
    mean = task.model.displacement.mean.clone()
    assert 0.1 < mean[0].abs() < 90 and mean[1].abs() < 0.1 * mean[0].abs()  # left and right are alike
    task.model.eval()
    total, pixels = torch.zeros(2, dtype=torch.float64), 0
    for uri in task.samples.uris.to_pylist():
        image = torch.from_numpy(np.array(load_image(uri, 1280))).permute(2, 0, 1)[None].float()
        with torch.no_grad(), precision(cpu):
            field = task.model(image)[1].double()
        total += field.sum(dim=(0, 2, 3))
        pixels += field[0, 0].numel()
    assert (total / pixels).abs().max() < 0.01 * mean.abs().max()
