"""A checkpoint holds everything that the next epoch depends on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from irnet_ray.engine.checkpoints import load, newest, save
from irnet_ray.engine.schedule import Schedule
from irnet_ray.engine.task import TrainStage
from irnet_ray.engine.training import _optimizer
from irnet_ray.runs.folder import Folder

torch.set_num_threads(1)
STATE = {"epoch": 1, "history": [{"iteration": 3, "losses": {"total": 0.5}}], "measured": {}}


class Task:
    """A network with a convolution, a norm with buffers, and a parameter that never gets a gradient."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2))
        self.model.register_parameter("unused", nn.Parameter(torch.ones(2)))
        self.model.to(memory_format=torch.channels_last)

    def groups(self) -> list[dict[str, Any]]:
        convolution = list(self.model[0].parameters())
        others = [p for name, p in self.model.named_parameters() if not name.startswith("0.")]
        return [{"params": convolution, "lr": 0.1}, {"params": others, "lr": 0.2}]


def start(optimizer: Any) -> tuple[Task, torch.optim.Optimizer]:
    task = Task()
    stage = TrainStage("toy", Task, Schedule(1, 1, 1, 1, 0), 1e-2, optimizer=optimizer)  # type: ignore[arg-type]
    return task, _optimizer(stage, task)  # type: ignore[arg-type]


def train(task: Task, optimizer: torch.optim.Optimizer, iterations: range) -> None:
    for iteration in iterations:
        images = torch.randn(5, 3, 6, 6, generator=torch.Generator().manual_seed(iteration))
        for group, rate in zip(optimizer.param_groups, (0.1, 0.2), strict=True):
            group["lr"] = rate / (1 + iteration)
        optimizer.zero_grad()
        task.model(images).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
def test_a_training_resumed_from_a_checkpoint_gives_the_same_weights(optimizer: str, tmp_path: Path) -> None:
    whole, whole_steps = start(optimizer)
    train(whole, whole_steps, range(3))
    save(Folder(str(tmp_path)), whole.model, whole_steps, STATE)
    train(whole, whole_steps, range(3, 6))
    resumed, resumed_steps = start(optimizer)
    assert load(Folder(str(tmp_path)), resumed.model, resumed_steps) == STATE
    train(resumed, resumed_steps, range(3, 6))
    for (name, expected), found in zip(
        whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(expected, found), name


@pytest.mark.parametrize(("optimizer", "moments"), [("sgd", 0), ("momentum", 1), ("adamw", 3)])
def test_moments_are_kept_per_parameter_that_learns_and_in_its_memory_format(
    optimizer: str, moments: int, tmp_path: Path
) -> None:
    task, steps = start(optimizer)
    train(task, steps, range(2))
    save(Folder(str(tmp_path)), task.model, steps, STATE)
    assert len(load_file(tmp_path / "optimizer.safetensors")) == moments * 6
    task, steps = start(optimizer)
    load(Folder(str(tmp_path)), task.model, steps)
    assert [group["lr"] for group in steps.param_groups] == [0.1, 0.2]
    weight = task.model[0].weight
    for moment in steps.state[weight].values():
        assert moment.ndim == 0 or moment.is_contiguous(memory_format=torch.channels_last)


def test_the_newest_checkpoint_is_the_last_whole_one(tmp_path: Path) -> None:
    folder, (task, steps) = Folder(str(tmp_path / "training")), start("sgd")
    assert newest(folder) is None
    for epoch in (8, 9, 10):
        save(folder.folder(f"epoch-{epoch:05d}"), task.model, steps, {**STATE, "epoch": epoch})
    (tmp_path / "training" / "epoch-00010" / "state.json").unlink()  # as a disk that fills up leaves it
    found = newest(folder)
    assert found is not None and load(found, task.model, steps)["epoch"] == 9
