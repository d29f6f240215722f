"""The train mechanism: N workers, checkpoints, restarts, on Ray Train. Table in, weights out.

An epoch is the piece of the schedule between two checkpoints. Every batch depends only on (seed, epoch, iteration), so
an epoch that is repeated after a worker's death is the same epoch.
Samples come by index, or, where the data set is larger than memory, from rows that Ray Data streams.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from irnet_ray import text
from irnet_ray.engine.progress import Reading, display
from irnet_ray.engine.session import Devices, reason
from irnet_ray.engine.task import HopelessError, Task, TrainStage
from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder, writing
from irnet_ray.runs.run import WEIGHTS


def run_training(stage: TrainStage, folder: Folder, devices: Devices, workers: int | None) -> dict[str, float]:
    """Train a stage, or resume where an interrupted run stopped; commits the weights and the record of the training.

    The folder then holds `weights.safetensors`, `history.json` (loss terms of each epoch), `measured.json` (what
    the task measured at the end) and `tensorboard/` (loss terms and learning rate of each iteration).

    Returns:
        The loss terms, averaged over the workers and the last epoch.

    Raises:
        UserError: a checkpoint or the result cannot be written.
        RuntimeError: training failed more often than restarts are allowed, or a loss is not finite.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from irnet_ray.engine import checkpoints
    from irnet_ray.engine.rendezvous import torch_config

    filesystem, path = folder.folder("training").filesystem
    count = devices.train_workers(workers)
    cores = max(1, devices.cpus // devices.nodes // max(1, math.ceil(count / devices.nodes)))
    trainer = TorchTrainer(
        _work,  # type: ignore[arg-type]  # Ray's type allows no result, though Ray keeps it
        train_loop_config={"stage": stage, "folder": folder, "cores": cores},
        torch_config=torch_config(),
        **_data(stage),
        scaling_config=ScalingConfig(
            num_workers=count,
            use_gpu=devices.gpus > 0,
            resources_per_worker=_resources(devices, count, cores, stage.rows is not None),
        ),
        run_config=RunConfig(
            # With the same name and path Ray resumes an interrupted run: the folder's name holds the fingerprint.
            name=stage.name,
            storage_path=path,
            storage_filesystem=filesystem if not folder.is_local else None,
            failure_config=FailureConfig(max_failures=3),
        ),
    )

    def read() -> Reading | None:
        state = folder.read_json("progress.json")
        if state is None:
            return None
        terms = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in state["losses"].items())
        return Reading(state["iteration"], stage.schedule.iterations, terms)

    folder.remove("progress.json")  # from a run that was interrupted after its last checkpoint
    starting = f"starting {text.count(count, 'worker')}"
    with display(stage.name, "iterations", read, starting=starting), _own_interrupt():
        try:
            result = trainer.fit()
        except Exception as error:
            failed = getattr(error, "controller_failure", error)
            if isinstance(failed, OSError):  # Ray Train writes a few records itself
                with writing(folder.location):
                    raise failed from error
            raise RuntimeError(f"{stage.name}: training stopped: {reason(error)}") from error
    ended: Exception | None = result.return_value  # type: ignore[attr-defined]
    if isinstance(ended, UserError):
        raise ended
    if ended is not None:
        raise RuntimeError(f"{stage.name}: {ended}")
    last = checkpoints.newest(folder.folder("training", stage.name))
    if last is None:
        raise RuntimeError(f"{stage.name}: training ended without a checkpoint.")
    state = last.read_json(checkpoints.STATE)
    folder.write_json("history.json", state["history"])
    folder.write_json("measured.json", state["measured"])
    folder.write(WEIGHTS, last.read(WEIGHTS))
    folder.folder("training").delete()
    return dict(state["history"][-1]["losses"])


@contextmanager
def _own_interrupt() -> Iterator[None]:
    """Keep Ctrl-C a KeyboardInterrupt: Ray Train's handler exits without a message, and outlives the training."""
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


def _data(stage: TrainStage) -> dict[str, Any]:
    """The rows for the trainer, split among the workers; and whole for each, for too few to split."""
    if stage.rows is None:
        return {}
    from ray.data import ExecutionOptions
    from ray.train import DataConfig

    from irnet_ray.engine.loading import SPLIT, WHOLE

    # In the order of the data set, so that a repeated epoch sees the same rows.
    options = ExecutionOptions(preserve_order=True)
    return {
        "datasets": dict.fromkeys((SPLIT, WHOLE), stage.rows()),
        "dataset_config": DataConfig(datasets_to_split=[SPLIT], execution_options=options),
    }


def _resources(devices: Devices, workers: int, cores: int, rows: bool) -> dict[str, float]:
    """What a worker claims: its cores. With `rows`, one core of each node is left to the tasks that read them.

    If all cores were claimed, those tasks would never start. Only Ray counts with the claim; torch uses all `cores`.
    """
    claims: dict[str, float] = {"CPU": cores}
    if rows:
        share = (devices.cpus / devices.nodes - 1) / math.ceil(workers / devices.nodes)
        claims["CPU"] = min(cores, math.floor(share)) if share >= 1 else math.floor(share * 100) / 100
    if devices.gpus:
        claims["GPU"] = 1
    elif claims["CPU"] == 0:
        claims["memory"] = 1  # a byte: Ray places no worker that claims nothing
    return claims


def _work(config: dict[str, Any]) -> HopelessError | UserError | None:
    """One worker's whole training. Returns a failure that a retry cannot fix; Ray Train retries what is raised."""
    import ray.train
    import ray.train.torch

    from irnet_ray.engine import checkpoints
    from irnet_ray.engine.cores import use_cores
    from irnet_ray.engine.curves import Reporter
    from irnet_ray.engine.loading import RowLoader, index_batches

    stage: TrainStage = config["stage"]
    schedule, cores = stage.schedule, config["cores"]
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        use_cores(cores)
    torch.manual_seed(schedule.seed)
    task = stage.build()
    # Depthwise convolutions train 8 to 10 times faster in channels_last on a processor.
    task.model.to(device).to(memory_format=torch.channels_last).train()
    optimizer = _optimizer(stage, task)
    rates = [group["lr"] for group in optimizer.param_groups]
    kept = config["folder"].folder("training", stage.name)
    first, history = checkpoints.restore(kept, task.model, optimizer)
    model = ray.train.torch.prepare_model(task.model, move_to_device=False)
    part = ray.train.get_dataset_shard
    rows = RowLoader(task, schedule, part, rank, world, device, cores) if stage.rows is not None else None
    advance: Callable[[float], None] = getattr(task, "advance", lambda _: None)
    reporter = Reporter(config["folder"] if rank == 0 else None, schedule.iterations)
    try:
        for epoch in range(first, schedule.epochs):
            start = epoch * schedule.iterations_per_epoch
            batches = rows.batches(epoch) if rows else index_batches(task, schedule, epoch, rank, world, cores)
            reporter.begin(epoch, start)
            for iteration, batch in enumerate(batches, start):
                factor = schedule.factor(iteration)
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * factor
                advance(iteration / schedule.iterations)
                losses = _step(stage, task, model, optimizer, to_device(batch, device), iteration)
                reporter.add(iteration, losses, rates[0] * factor)
            reporter.end()
            _check_weights(task.model, start + schedule.iterations_per_epoch - 1)
            measured = task.finish(device, rank, world) if epoch == schedule.epochs - 1 else {}
            history.append({"iteration": start + schedule.iterations_per_epoch, "losses": reporter.means()})
            state = {"epoch": epoch, "history": history, "measured": measured}
            checkpoints.checkpoint(kept, task.model, optimizer, state, rank)
    except (HopelessError, UserError) as error:
        return error
    finally:
        reporter.end()
    return None


def _step(
    stage: TrainStage, task: Task, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any, iteration: int
) -> dict[str, float]:
    """One iteration; returns the loss terms, averaged over the workers."""
    device = next(task.model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        losses = task.losses(model, batch)
    values = torch.stack([value.detach().float() for value in losses.values()])
    if torch.distributed.is_initialized():
        # If one worker's loss is not finite, every worker sees it here, and all stop together.
        torch.distributed.all_reduce(values)
        values /= torch.distributed.get_world_size()
    means: dict[str, float] = dict(zip(losses, values.tolist(), strict=True))
    for name, value in means.items():
        if not math.isfinite(value):
            raise HopelessError(f"the loss {name} is {value} at iteration {iteration}.")
    optimizer.zero_grad(set_to_none=True)
    losses["total"].backward()
    if stage.clip is not None:
        nn.utils.clip_grad_norm_(task.model.parameters(), stage.clip)
    optimizer.step()
    return means


def _check_weights(model: nn.Module, iteration: int) -> None:
    """Raise HopelessError if the last step broke the weights: its own loss was still finite."""
    for name, tensor in model.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise HopelessError(f"the weights {name} are not finite after iteration {iteration}.")


def to_device(batch: Any, device: torch.device) -> Any:
    """Move all tensors of a batch, in dicts and lists of any depth, to a device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {name: to_device(value, device) for name, value in batch.items()}
    if isinstance(batch, list):
        return [to_device(value, device) for value in batch]
    return batch


def _optimizer(stage: TrainStage, task: Task) -> torch.optim.Optimizer:
    if stage.optimizer == "adamw":
        return torch.optim.AdamW(task.groups(), lr=0.0, weight_decay=stage.weight_decay)
    momentum = 0.9 if stage.optimizer == "momentum" else 0.0
    return torch.optim.SGD(task.groups(), lr=0.0, momentum=momentum, weight_decay=stage.weight_decay)
