"""The classifier's training task: samples, targets, rates, and a loss that falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from irnet_ray.run import Shards
from irnet_ray.stages import classifier
from irnet_ray.stages.classifier import ClassifierTask
from irnet_ray.stages.plan import Plan


@pytest.fixture
def task(plan: Plan) -> ClassifierTask:
    return ClassifierTask(plan.config, plan.shards("images"), plan.vocabulary)


def test_samples_are_crops_with_the_image_s_own_tags(task: ClassifierTask, plan: Plan) -> None:
    for index in range(task.images):
        sample = task.sample(index, np.random.default_rng(index))
        assert (tuple(sample["image"].shape), sample["image"].dtype) == ((3, 96, 96), torch.uint8)
        marked = [name for name, on in zip(plan.vocabulary, sample["target"], strict=True) if on]
        assert marked == sorted(task.table["tags"][index].as_py())


def test_a_sample_follows_from_its_generator_alone(task: ClassifierTask) -> None:
    one, same, other = (task.sample(0, np.random.default_rng(seed))["image"] for seed in (5, 5, 6))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_a_broken_image_is_replaced_by_the_next(task: ClassifierTask) -> None:
    path = Path(task.table["uri"][2].as_py())
    whole = path.read_bytes()
    try:
        path.write_bytes(whole[: len(whole) // 2])
        broken = task.sample(2, np.random.default_rng(0))
    finally:
        path.write_bytes(whole)
    following = task.sample(3, np.random.default_rng(0))
    assert torch.equal(broken["image"], following["image"]) and torch.equal(broken["target"], following["target"])


def test_without_one_image_that_decodes_training_stops(task: ClassifierTask) -> None:
    column = task.table.schema.get_field_index("uri")
    task.table = task.table.set_column(column, "uri", [["/absent.png"] * task.images])
    with pytest.raises(RuntimeError, match="not one image can be decoded"):
        task.sample(0, np.random.default_rng(0))


def test_the_head_learns_ten_times_faster_and_frozen_parts_not_at_all(task: ClassifierTask) -> None:
    backbone, head = task.groups()
    assert head["lr"] == pytest.approx(10 * backbone["lr"])
    learning = {id(p) for p in task.model.parameters() if p.requires_grad}
    grouped = [id(p) for group in (backbone, head) for p in group["params"]]
    assert len(grouped) == len(set(grouped)) and set(grouped) == learning


def test_the_schedule_counts_usable_images(plan: Plan) -> None:
    images: Shards = plan.shards("images")
    stage = classifier.stage(plan.config, images, plan.vocabulary, 2_000)
    assert (stage.name, stage.schedule.epochs, stage.schedule.iterations) == ("classifier", 5, 5 * 1000)
    assert stage.build().images == 6


def test_it_learns_its_scenes(task: ClassifierTask) -> None:
    optimizer = torch.optim.SGD(task.groups())
    task.model.to(memory_format=torch.channels_last).train()
    values = []
    for step in range(16):
        rng = np.random.default_rng(step)
        samples = [task.sample((3 * step + k) % 6, rng) for k in range(3)]
        batch = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
        loss = task.losses(task.model, batch)["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert np.mean(values[-4:]) < 0.6 * values[0]
