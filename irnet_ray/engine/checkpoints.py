"""A training's state between two epochs: weights and the optimizer's moments as safetensors, all else as JSON."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WEIGHTS, OPTIMIZER, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"


def restore(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, Any]]]:
    """Load the last checkpoint, if there is one; returns the epoch to start with and the history so far."""
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0, []
    with checkpoint.as_directory() as directory:
        state = load(Path(directory), model, optimizer)
    return state["epoch"] + 1, state["history"]


def report(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any], rank: int) -> None:
    """Checkpoint an epoch: rank 0 saves, every worker reports."""
    import ray.train

    metrics = {"epoch": state["epoch"], **state["history"][-1]["losses"]}
    if rank != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as directory:
        save(Path(directory), model, optimizer, state)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(directory))


def save(directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write weights, moments and `state`, plain values for JSON."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, directory / WEIGHTS)
    save_file(_moments(optimizer), directory / OPTIMIZER)
    (directory / STATE).write_text(json.dumps(state))


def load(directory: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Read what `save` wrote into the same network and an optimizer of the same parameters; returns the state."""
    model.load_state_dict(load_file(directory / WEIGHTS))
    _load_moments(optimizer, load_file(directory / OPTIMIZER))
    state: dict[str, Any] = json.loads((directory / STATE).read_text())
    return state


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimizer remembers of earlier steps, by "<parameter's number>.<name>"; nothing for plain SGD."""
    return {
        f"{number}.{name}": value.detach().cpu().contiguous()
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if value is not None
    }


def _load_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimizer of the same parameters back what `_moments` took from it; its rates stay as they are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        parameter = parameters[int(number)]
        if tensor.shape == parameter.shape:
            # In the parameter's own memory format: the step over mixed formats is many times slower.
            tensor = torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
