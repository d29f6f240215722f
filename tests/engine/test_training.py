"""The train mechanism: trainings survive the death of any process."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from irnet_ray.engine.session import Devices
from irnet_ray.engine.task import HopelessError
from irnet_ray.engine.training import _check_weights, _own_interrupt, _resources
from tests.engine import toy_training as toy
from tests.engine.curves import read_curves
from tests.engine.processes import Marked

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("cpus", "gpus", "nodes", "workers", "rows", "claim"),
    [
        (2, 0, 1, 1, False, 2),
        (2, 0, 1, 1, True, 1),
        (2, 0, 1, 2, True, 0.5),
        (4, 0, 1, 3, True, 1),
        (16, 0, 1, 2, True, 7),
        (64, 8, 1, 8, True, 7),
        (32, 0, 2, 2, True, 15),
        (32, 0, 2, 4, True, 7),
    ],
)
def test_workers_leave_a_core_of_each_node_to_the_readers_of_rows(
    cpus: int, gpus: int, nodes: int, workers: int, rows: bool, claim: float
) -> None:
    resources = _resources(Devices(cpus, gpus, nodes), workers, cpus // workers, rows)
    assert resources == ({"CPU": claim, "GPU": 1} if gpus else {"CPU": claim})
    if rows:
        assert claim * workers / nodes <= cpus / nodes - 1


def test_a_worker_on_a_single_core_claims_something_else() -> None:
    assert _resources(Devices(1, 0, 1), 1, 1, rows=True) == {"CPU": 0, "memory": 1}


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_broken_weights_are_reported_by_name(value: float) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    _check_weights(model, 7)
    with torch.no_grad():
        model[1].running_var[1] = value
    with pytest.raises(HopelessError, match=r"^the weights 1\.running_var are not finite after iteration 7\.$"):
        _check_weights(model, 7)


def test_ctrl_c_in_a_training_is_an_interrupt_and_nothing_else_changes() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), _own_interrupt():
        signal.signal(signal.SIGINT, lambda *_: sys.exit(1))  # as Ray Train does
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    assert signal.getsignal(signal.SIGINT) is before

    def elsewhere() -> None:
        with _own_interrupt():
            passed.append(True)

    passed: list[bool] = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert passed and signal.getsignal(signal.SIGINT) is before


def drawn(folder: Path, name: str, starts: list[int]) -> list[list[dict[str, Any]]]:
    """The batches of each iteration, one per rank. A repeated iteration must draw the same batch."""
    batches = []
    for rank in range(toy.WORKERS):
        found: dict[int, dict[str, Any]] = {}
        for start, process in zip(starts, toy.calls(folder, name, rank), strict=True):
            for iteration, call in enumerate(process, start):
                batch = {key: call[key] for key in ("numbers", "x")}
                assert found.setdefault(iteration, batch) == batch, (rank, iteration)
        batches.append([found[iteration] for iteration in range(toy.SCHEDULE.iterations)])
    return [list(step) for step in zip(*batches, strict=True)]


def plain_training(batches: list[list[dict[str, Any]]]) -> tuple[dict[str, torch.Tensor], list[float]]:
    """A toy training as a loop of a few lines, without Ray: weights, and the total loss of each epoch."""
    task = toy.ToyTask(Path(), "plain")
    parameters, totals = list(task.model.parameters()), []
    speed = [torch.zeros_like(parameter) for parameter in parameters]
    for iteration, parts in enumerate(batches):
        x = torch.tensor([row for part in parts for row in part["x"]])
        y = torch.tensor([[n / toy.IMAGES, -1.0] for part in parts for n in part["numbers"]])
        loss = (task.model(x) - y).square().mean() * (1 + iteration / 120)
        gradients = torch.autograd.grad(loss, parameters)
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
        factor = min(1, (iteration + 1) / 2) * (1 - iteration / 12) ** 0.9
        with torch.no_grad():
            for parameter, gradient, v, rate in zip(parameters, gradients, speed, (0.02, 0.1), strict=True):
                step = gradient * min(1.0, toy.CLIP / (float(norm) + 1e-6)) + toy.WEIGHT_DECAY * parameter
                v.mul_(0.9).add_(step)
                parameter -= rate * factor * v
        totals.append(loss.item())
    task.model.get_buffer("finished").fill_(toy.WORKERS)
    return task.model.state_dict(), np.reshape(totals, (4, 3)).mean(axis=1).tolist()


def check(stage: Path, batches: list[list[dict[str, Any]]]) -> None:
    """The folder holds what the plain training gives, and one curve without gaps or doubles."""
    weights, means = plain_training(batches)
    history = json.loads((stage / "history.json").read_text())
    assert [epoch["iteration"] for epoch in history] == [3, 6, 9, 12]
    assert [epoch["losses"]["total"] for epoch in history] == pytest.approx(means, rel=1e-4)
    trained = load_file(stage / "weights.safetensors")
    assert set(trained) == set(weights)
    for name, tensor in weights.items():
        assert torch.allclose(trained[name], tensor, atol=1e-5), name
    assert not (stage / "training").exists()
    curves = read_curves(stage / "tensorboard")
    assert {name: [step for step, _ in curve] for name, curve in curves.items()} == {
        name: list(range(12)) for name in ("loss/total", "loss/largest", "rate")
    }
    assert np.reshape([value for _, value in curves["loss/total"]], (4, 3)).mean(axis=1) == pytest.approx(means, 1e-4)


def checkpointed(stage: Path, epoch: int) -> bool:
    """Whether the checkpoint of an epoch is whole, and of no later one."""
    places = sorted((stage / "training" / stage.name).glob("epoch-*/state.json"))
    return bool(places) and places[-1].parent.name == f"epoch-{epoch:05d}"


def hold(folder: Path, name: str, rank: int, call: int) -> Path:
    (folder / "holding").unlink(missing_ok=True)
    (folder / "hold").write_text(f"{name} {rank} {call}")
    return folder / "holding"


def kill_worker(training: Marked, folder: Path) -> None:
    worker = int((folder / "holding").read_text())
    assert worker in training.others()
    (folder / "hold").unlink()
    os.kill(worker, signal.SIGKILL)


@pytest.mark.slow  # of the ordinary tests, those of chaos kill drivers and training workers
def test_trainings_survive_the_death_of_their_driver_and_of_a_worker(tmp_path: Path) -> None:
    """Killed in its second epoch by the driver's death, in its third by a worker's: the same weights come out."""
    script = Path(toy.__file__)
    streamed, indexed = tmp_path / "streamed", tmp_path / "indexed"
    toy.write_rows(tmp_path, list(range(11)), broken=[2])
    holding = hold(tmp_path, "streamed", rank=0, call=5)
    with Marked(script, tmp_path, "streamed", log=tmp_path / "first.log") as first:
        first.wait_for(lambda: holding.exists() and checkpointed(streamed, 0))
        first.kill()
    assert not (streamed / "weights.safetensors").exists()

    holding = hold(tmp_path, "streamed", rank=1, call=5)
    with Marked(script, tmp_path, "streamed", "indexed", log=tmp_path / "second.log") as second:
        second.wait_for(lambda: holding.exists() and checkpointed(streamed, 1))
        kill_worker(second, tmp_path)
        holding = hold(tmp_path, "indexed", rank=1, call=5)
        second.wait_for(lambda: holding.exists() and checkpointed(indexed, 0))
        kill_worker(second, tmp_path)
        second.finish()
    assert second.others() == []

    # Of 12 calls in 4 epochs: 5 die with the driver in epoch 2, whose 3 are done again with 2 of epoch 3, which
    # die with the worker; epochs 3 and 4 remain.
    assert [len(process) for process in toy.calls(tmp_path, "streamed", 0)] == [5, 5, 6]
    check(streamed, drawn(tmp_path, "streamed", starts=[0, 3, 6]))

    assert [len(process) for process in toy.calls(tmp_path, "indexed", 0)] == [5, 9]
    batches = drawn(tmp_path, "indexed", starts=[0, 3])
    check(indexed, batches)
    for epoch in range(4):
        for rank in range(toy.WORKERS):
            steps = toy.SCHEDULE.indices(epoch, toy.IMAGES, rank, toy.WORKERS)
            assert [parts[rank]["numbers"] for parts in batches[3 * epoch : 3 * epoch + 3]] == steps
