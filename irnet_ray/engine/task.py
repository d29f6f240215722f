"""What a training stage gives to the train mechanism: a network, its data, its loss and its schedule."""

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

Batch = dict[str, Tensor]  # for most tasks
Optimizer = Literal["sgd", "momentum", "adamw"]


class Task(Protocol):
    """A network, its data and its loss.

    Two methods are optional. `collate(samples: list) -> batch` is for samples that are not dicts of tensors of equal
    shapes; batches are dicts and lists of tensors, nested to any depth. `advance(done: float)` is called before each
    iteration with the share of the schedule that is done.
    """

    @property
    def model(self) -> nn.Module:
        """The network to train, on any device."""

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups for the optimizer, each with `params` and `lr`."""

    def sample(self, item: Any, rng: np.random.Generator, /) -> Any:
        """One augmented training sample.

        Args:
            item: the index of an image; for a stage with `rows`, a row as a dict, in one of several threads.
            rng: seeded by the schedule's seed, the epoch and the position in it; with `rows`, by the seed, the epoch,
                the pass over the rows, and the row's `image_id`.

        Returns:
            The sample. None if a row gives none; another row is then taken.
        """

    def losses(self, model: nn.Module, batch: Any) -> dict[str, Tensor]:
        """Loss terms of a batch, the same terms on all workers. `total` is minimized, the others are only shown."""

    def finish(self, device: torch.device, rank: int, world: int) -> dict[str, Any]:
        """Called once on every worker after the last iteration, before the weights are saved.

        Returns:
            What was measured, as plain values for JSON; rank 0's is kept.
        """


class IndexedTask(Task, Protocol):
    """A task that numbers its images; `sample` gets numbers below `images`."""

    @property
    def images(self) -> int:
        """How many images there are to sample from."""


class HopelessError(Exception):
    """A failure that a retry cannot fix. All workers raise it at the same point."""


@dataclass(frozen=True)
class TrainStage:
    """One training stage: how each worker builds its task, and how long it trains.

    With `rows`, samples are made from the rows of a data set that Ray Data streams to the workers; each row has a
    column `image_id`. The data set is never in memory as a whole. A pass is shuffled only within a buffer of rows; for
    more, the data set itself must shuffle its files. Without `rows`, `build` returns an `IndexedTask`.
    """

    name: str
    build: Callable[[], Task]
    schedule: Schedule
    weight_decay: float
    rows: Callable[[], Dataset] | None = None
    optimizer: Optimizer = "sgd"  # momentum is SGD with 0.9
    clip: float | None = None  # largest norm of all gradients taken as one vector
