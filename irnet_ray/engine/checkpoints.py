"""A training's state between two epochs: weights and the optimizer's moments as safetensors, the rest as JSON.

    <stage's folder>/training/<stage>/epoch-00004/    written by the first worker, the state last

Ray Train does not write them: its upload could fail on one worker while the others wait, and a full disk truncates its
own record of checkpoints.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS

OPTIMIZER, STATE = "optimizer.safetensors", "state.json"
KEPT = 2  # epochs


def newest(folder: Folder) -> Folder | None:
    """The last complete checkpoint in a training's folder, if there is one."""
    places = (folder.folder(name) for name in reversed(folder.folders()))
    return next((place for place in places if place.exists(STATE)), None)


def restore(folder: Folder, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, Any]]]:
    """Load the last checkpoint, if there is one; returns the epoch to start with and the history so far.

    All workers call it. They load the checkpoint that the first worker finds.
    """
    from ray.train.collective import broadcast_from_rank_zero

    found = newest(folder)
    name = broadcast_from_rank_zero(found.name if found is not None else None)
    if name is None:
        return 0, []
    state = load(folder.folder(name), model, optimizer)
    return state["epoch"] + 1, state["history"]


def checkpoint(
    folder: Folder, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any], rank: int
) -> None:
    """Save an epoch: all workers call it, the first one writes.

    Raises:
        UserError: it cannot be written. All workers raise it.
    """
    from ray.train.collective import broadcast_from_rank_zero

    refused: UserError | None = None
    if rank == 0:
        try:
            save(folder.folder(f"epoch-{state['epoch']:05d}"), model, optimizer, state)
        except UserError as error:
            refused = error
        with contextlib.suppress(UserError):
            for name in folder.folders()[:-KEPT]:
                folder.folder(name).delete()
    if broadcast_from_rank_zero(refused is not None):
        raise refused or UserError("The first worker could not write a checkpoint.")


def save(folder: Folder, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Write weights, moments and `state`, plain values for JSON. Raises UserError if they cannot be written."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    folder.write(WEIGHTS, to_bytes(tensors))
    folder.write(OPTIMIZER, to_bytes(_moments(optimizer)))
    folder.write_json(STATE, state)


def load(folder: Folder, model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Read what `save` wrote into the same network and an optimizer of the same parameters; returns the state."""
    model.load_state_dict(from_bytes(folder.read(WEIGHTS)))
    _load_moments(optimizer, from_bytes(folder.read(OPTIMIZER)))
    state: dict[str, Any] = json.loads(folder.read(STATE))
    return state


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimizer's state from earlier steps, by "<parameter's number>.<name>"; empty for plain SGD."""
    return {
        f"{number}.{name}": value.detach().cpu().contiguous()
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if value is not None
    }


def _load_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore what `_moments` returned into an optimizer of the same parameters; its learning rates stay."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, name = key.split(".", 1)
        parameter = parameters[int(number)]
        if tensor.shape == parameter.shape:
            # In the parameter's own memory format: a step over mixed formats is many times slower.
            tensor = torch.empty_like(parameter, dtype=tensor.dtype, requires_grad=False).copy_(tensor)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
