"""What a training stage brings to the train mechanism: a network, its data, its loss and its schedule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from irnet_ray.engine.schedule import Schedule

if TYPE_CHECKING:
    from ray.data import Dataset

Batch = dict[str, Tensor]  # of most tasks
Optimizer = Literal["sgd", "momentum", "adamw"]


class Task(Protocol):
    """What a training stage brings: a network, its data and its loss.

    A task may also have `collate(samples: list) -> batch`, for samples that are no dicts of tensors of equal shapes;
    batches are dicts and lists of tensors, nested at will. And `advance(done: float)`, which is told before each
    iteration what share of the schedule is done.
    """

    @property
    def model(self) -> nn.Module:
        """The network to train, on any device."""

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for the optimizer, each with `params` and `lr`."""

    def sample(self, item: Any, rng: np.random.Generator, /) -> Any:
        """One augmented training sample.

        Args:
            item: the index of an image; of a stage with `rows`, a row as a dict, in one of several threads. Where a
                row gives no sample, None; another row is taken.
            rng: follows from the schedule's seed, the epoch and the place in it; with `rows`, from the seed, the
                epoch, the pass over the rows, and the row's `image_id`.
        """

    def losses(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Loss terms of a batch, on all workers the same terms; `total` is minimized, the others are shown."""

    def finish(self, device: torch.device, rank: int, world: int) -> dict[str, Any]:
        """Called on every worker once after the last iteration, before the weights are saved.

        Returns:
            What was measured, as plain values for JSON; rank 0's is kept.
        """


class IndexedTask(Task, Protocol):
    """A task that knows its images by number; `sample` gets numbers below `images`."""

    @property
    def images(self) -> int:
        """How many images there are to sample from."""


class HopelessError(Exception):
    """Trying again would end alike. All workers raise it at the same place."""


@dataclass(frozen=True)
class TrainStage:
    """One training stage: how each worker builds its task, and for how long it trains.

    With `rows`, samples are made of the rows of a data set that Ray Data streams past the workers, each with a
    column `image_id`; it is never in memory whole. Passes are shuffled within a buffer of rows; for more, let the
    data set itself shuffle its files. Without, `build` gives an `IndexedTask`.
    """

    name: str
    build: Callable[[], Task]
    schedule: Schedule
    weight_decay: float
    rows: Callable[[], Dataset] | None = None
    optimizer: Optimizer = "sgd"  # momentum is SGD with 0.9
    clip: float | None = None  # largest norm of all gradients together
