"""The train mechanism: N workers, checkpoints, restarts, on Ray Train. Table in, weights out.

The schedule is counted in iterations; an epoch is the piece of it between two checkpoints. Every batch follows
from (seed, epoch, iteration) alone, so an epoch that is run again after a worker's death is the same epoch.
"""

from __future__ import annotations

import json
import math
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from irnet_ray.engine.progress import Reading, display
from irnet_ray.engine.session import Devices, reason
from irnet_ray.run import Folder

Batch = dict[str, Tensor]
PROGRESS_INTERVAL = 2.0  # seconds between progress files


@dataclass(frozen=True)
class Schedule:
    """How long to train, in iterations, and the polynomial decay of the learning rate (paper 6.1)."""

    epochs: int
    iterations_per_epoch: int
    batch_size: int  # images per iteration, over all workers
    power: float
    seed: int

    @staticmethod
    def plan(images: int, epochs: int, min_iterations: int, batch_size: int, power: float, seed: int) -> Schedule:
        """At least `epochs` passes over `images`, and at least `min_iterations`: small data sets repeat."""
        per_epoch = max(math.ceil(images / batch_size), math.ceil(min_iterations / epochs))
        return Schedule(epochs, per_epoch, batch_size, power, seed)

    @property
    def iterations(self) -> int:
        """All iterations of the training."""
        return self.epochs * self.iterations_per_epoch

    def decay(self, iteration: int) -> float:
        """Factor of the learning rate at an iteration, (1 - iteration / iterations) ^ power."""
        return (1 - iteration / self.iterations) ** self.power

    def indices(self, epoch: int, images: int, rank: int, world: int) -> list[list[int]]:
        """The image indices of each of this worker's batches of an epoch; all workers have equally many.

        Passes over the images are shuffled one by one, so each image comes about equally often. A worker's
        share of a batch is never empty.
        """
        share = max(1, self.batch_size // world)
        needed = share * world * self.iterations_per_epoch
        rng = np.random.default_rng([self.seed, epoch])
        passes = [rng.permutation(images) for _ in range(math.ceil(needed / images))]
        grid = np.concatenate(passes)[:needed].reshape(self.iterations_per_epoch, world, share)
        return grid[:, rank].tolist()


class Task(Protocol):
    """What a training stage brings: a network, its data and its loss."""

    @property
    def model(self) -> nn.Module:
        """The network to train, on any device."""

    @property
    def images(self) -> int:
        """How many images there are to sample from."""

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for SGD, each with `params` and `lr`."""

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        """One augmented training sample; tensors of equal shape for all samples."""

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Loss terms of a batch; `total` is minimized, the others are shown."""

    def finish(self, device: torch.device, rank: int, world: int) -> dict[str, Any]:
        """Called on every worker once after the last iteration, before the weights are saved.

        Returns:
            What was measured, as plain values for JSON; rank 0's is kept.
        """


@dataclass(frozen=True)
class TrainStage:
    """One training stage: how each worker builds its task, and for how long it trains."""

    name: str
    build: Callable[[], Task]
    schedule: Schedule
    weight_decay: float


def run_training(stage: TrainStage, folder: Folder, devices: Devices, workers: int | None) -> dict[str, float]:
    """Train a stage, or go on where an interrupted run stopped; commits the weights and what was seen.

    The folder then holds `weights.safetensors`, `history.json` (loss terms of each epoch) and `measured.json` (what
    the task measured at the end).

    Returns:
        The loss terms, averaged over the last epoch.

    Raises:
        RuntimeError: training failed more often than restarts are allowed, or a loss is not finite.
    """
    from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    count = devices.train_workers(workers)
    cores = max(1, devices.cpus // devices.nodes // max(1, math.ceil(count / devices.nodes)))
    trainer = TorchTrainer(
        _work,
        train_loop_config={"stage": stage, "folder": folder, "cores": cores},
        scaling_config=ScalingConfig(
            num_workers=count,
            use_gpu=devices.gpus > 0,
            resources_per_worker=_resources(cores, devices.gpus > 0),
        ),
        run_config=RunConfig(
            # The same name and path make an interrupted run go on: the folder's name holds the fingerprint.
            name=stage.name,
            storage_path=folder.folder("training").location if not folder.is_local else f"{folder.local_path}/training",
            failure_config=FailureConfig(max_failures=3),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
        ),
    )

    def read() -> Reading | None:
        state = folder.read_json("progress.json")
        if state is None:
            return None
        terms = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in state["losses"].items())
        return Reading(state["iteration"], stage.schedule.iterations, terms)

    with display(stage.name, "iterations", read), _own_interrupt():
        try:
            result = trainer.fit()
        except Exception as error:
            raise RuntimeError(f"{stage.name}: training stopped: {reason(error)}") from error
    if result.checkpoint is None:
        raise RuntimeError(f"{stage.name}: training ended without a checkpoint.")
    with result.checkpoint.as_directory() as directory:
        state = json.loads(Path(directory, "state.json").read_text())
        folder.write_json("history.json", state["history"])
        folder.write_json("measured.json", state["measured"])
        folder.write("weights.safetensors", Path(directory, "weights.safetensors").read_bytes())
    folder.folder("training").delete()
    return dict(state["history"][-1]["losses"])


@contextmanager
def _own_interrupt() -> Iterator[None]:
    """Ctrl-C stays a KeyboardInterrupt: Ray Train's handler exits without a word, and outlives the training."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        raise KeyboardInterrupt from end
    finally:
        signal.signal(signal.SIGINT, handler)


def _resources(cores: int, gpu: bool) -> dict[str, float]:
    return {"CPU": cores, "GPU": 1} if gpu else {"CPU": cores}


def _work(config: dict[str, Any]) -> None:
    """One worker's whole training."""
    import ray.train
    import ray.train.torch

    stage: TrainStage = config["stage"]
    schedule = stage.schedule
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        torch.set_num_threads(config["cores"])
    torch.manual_seed(schedule.seed)
    task = stage.build()
    first, history = _restore(task.model)
    # Depthwise convolutions train 8 to 10 times faster in channels_last on a processor.
    task.model.to(device).to(memory_format=torch.channels_last).train()
    model = ray.train.torch.prepare_model(task.model, move_to_device=False)
    optimizer = torch.optim.SGD(task.groups(), lr=0.0, weight_decay=stage.weight_decay)
    rates = [group["lr"] for group in optimizer.param_groups]
    reporter = _Reporter(config["folder"] if rank == 0 else None)
    for epoch in range(first, schedule.epochs):
        reporter.reset()
        for step, batch in enumerate(_batches(task, schedule, epoch, rank, world, config["cores"])):
            iteration = epoch * schedule.iterations_per_epoch + step
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * schedule.decay(iteration)
            batch = {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                losses = task.losses(model, batch)
            optimizer.zero_grad(set_to_none=True)
            losses["total"].backward()
            optimizer.step()
            reporter.add(stage.name, iteration, losses)
        measured = task.finish(device, rank, world) if epoch == schedule.epochs - 1 else {}
        history.append({"iteration": iteration + 1, "losses": reporter.means()})
        _report(task.model, {"epoch": epoch, "history": history, "measured": measured}, rank)


def _restore(model: nn.Module) -> tuple[int, list[dict[str, Any]]]:
    """Load the last checkpoint, if there is one; returns the epoch to start with and the history so far."""
    import ray.train
    from safetensors.torch import load_file

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0, []
    with checkpoint.as_directory() as directory:
        model.load_state_dict(load_file(Path(directory, "weights.safetensors")))
        state = json.loads(Path(directory, "state.json").read_text())
    return state["epoch"] + 1, state["history"]


def _report(model: nn.Module, state: dict[str, Any], rank: int) -> None:
    """Checkpoint an epoch. SGD without momentum has no state of its own, so weights and epoch are all of it."""
    import ray.train
    from safetensors.torch import save_file

    metrics = {"epoch": state["epoch"], **state["history"][-1]["losses"]}
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as directory:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, Path(directory, "weights.safetensors"))
        Path(directory, "state.json").write_text(json.dumps(state))
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(directory))


class _Samples(Dataset[Batch]):
    """Samples of one epoch by their place in it, each with a random generator of its own."""

    def __init__(self, task: Task, seed: int, epoch: int, rank: int) -> None:
        self.task, self.key = task, [seed, 2, epoch, rank]

    def __getitem__(self, place: tuple[int, int]) -> Batch:
        position, index = place
        return self.task.sample(index, np.random.default_rng([*self.key, position]))


def _batches(task: Task, schedule: Schedule, epoch: int, rank: int, world: int, cores: int) -> Iterator[Batch]:
    indices = schedule.indices(epoch, task.images, rank, world)
    share = len(indices[0])
    places = [[(step * share + k, index) for k, index in enumerate(batch)] for step, batch in enumerate(indices)]
    return iter(
        DataLoader(
            _Samples(task, schedule.seed, epoch, rank),
            batch_sampler=places,
            num_workers=min(8, max(1, cores // 2)),
            pin_memory=torch.cuda.is_available(),
        )
    )


class _Reporter:
    """Averages loss terms over an epoch, and tells the driver how far rank 0 is."""

    def __init__(self, folder: Folder | None) -> None:
        self.folder = folder
        self.told = 0.0
        self.reset()

    def reset(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, stage: str, iteration: int, losses: dict[str, Tensor]) -> None:
        values = {name: float(value.detach()) for name, value in losses.items()}
        wrong = [name for name, value in values.items() if not math.isfinite(value)]
        if wrong:
            raise RuntimeError(f"{stage}: the loss {wrong[0]} is {values[wrong[0]]} at iteration {iteration}.")
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        if self.folder is not None and time.monotonic() - self.told > PROGRESS_INTERVAL:
            self.told = time.monotonic()
            self.folder.write_json(
                "progress.json", {"iteration": iteration + 1, "losses": self.means(), "pid": os.getpid()}
            )

    def means(self) -> dict[str, float]:
        """Mean of each loss term since the epoch began."""
        return {name: value / max(1, self.count) for name, value in self.sums.items()}
