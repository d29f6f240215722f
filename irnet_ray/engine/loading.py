"""Batches for a training worker: by index from what its task holds, or from rows that Ray Data streams."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import torch
from ray.data.collate_fn import ArrowBatchCollateFn
from torch.utils.data import DataLoader, Dataset, default_collate

from irnet_ray.engine.schedule import Schedule
from irnet_ray.engine.task import HopelessError, IndexedTask, Task

if TYPE_CHECKING:
    from ray.data import DataIterator

SPLIT, WHOLE = "split", "whole"  # an equal part of the rows for each worker, or all rows for each worker
SHUFFLED_ROWS = 1024  # rows in a worker's shuffle buffer
BATCHES_AHEAD = 2


def collate_of(task: Task) -> Callable[[list[Any]], Any]:
    """How a task collates samples: its own `collate`, else torch's default."""
    return getattr(task, "collate", default_collate)


class _Samples(Dataset[Any]):
    """Samples of one epoch by their position in it, each with its own random generator."""

    def __init__(self, task: Task, seed: int, epoch: int, rank: int) -> None:
        self.task, self.key = task, [seed, 2, epoch, rank]

    def __getitem__(self, place: tuple[int, int]) -> Any:
        position, index = place
        return self.task.sample(index, np.random.default_rng([*self.key, position]))


def index_batches(task: Task, schedule: Schedule, epoch: int, rank: int, world: int, cores: int) -> Iterator[Any]:
    """An epoch's batches for a task that numbers its images; processes load ahead."""
    indices = schedule.indices(epoch, cast(IndexedTask, task).images, rank, world)
    share = len(indices[0])
    places = [[(step * share + k, index) for k, index in enumerate(batch)] for step, batch in enumerate(indices)]
    return iter(
        DataLoader(
            _Samples(task, schedule.seed, epoch, rank),
            batch_sampler=places,
            num_workers=min(8, max(1, cores // 2)),
            collate_fn=collate_of(task),
            pin_memory=torch.cuda.is_available(),
        )
    )


@dataclass
class _Drawn:
    """Samples of a few rows. A class of its own, so that Ray Data does not treat it as a tensor batch."""

    samples: list[Any]


class _Draw(ArrowBatchCollateFn):
    """Turns rows into samples, in threads. Ray Data's threads call it ahead of the training."""

    def __init__(self, task: Task, key: list[int], pool: ThreadPoolExecutor) -> None:
        self.task, self.key, self.pool = task, key, pool

    def __call__(self, batch: pa.Table) -> Any:
        samples = self.pool.map(self._sample, batch.to_pylist())
        return _Drawn([sample for sample in samples if sample is not None])

    def _sample(self, row: dict[str, Any]) -> Any:
        digest = hashlib.blake2b(str(row["image_id"]).encode(), digest_size=8).digest()
        return self.task.sample(row, np.random.default_rng([*self.key, int.from_bytes(digest, "big")]))


class RowLoader:
    """Full batches of streamed rows, the same number for all workers.

    Each pass gives every worker an equal part of the rows. Rows without a sample make the parts unequal again. A worker
    that waits for its next part while the others wait for its gradients would wait for ever. So before each iteration
    all workers tell each other whether they have a batch. As soon as one has none, all begin the next pass. What the
    others have already drawn from the old pass stays for their next batch; the rest is dropped.
    """

    def __init__(
        self,
        task: Task,
        schedule: Schedule,
        part: Callable[[str], DataIterator],  # SPLIT or WHOLE ▶ this worker's rows
        rank: int,
        world: int,
        device: torch.device,
        cores: int,
    ) -> None:
        self.task, self.schedule, self.part, self.rank, self.world = task, schedule, part, rank, world
        self.device = device
        self.pool = ThreadPoolExecutor(max(1, cores), thread_name_prefix="samples")

    def batches(self, epoch: int) -> Iterator[Any]:
        """An epoch's batches, from as many passes as needed.

        Raises:
            HopelessError: there are no rows, or the task can use none of them.
        """
        share, collate = self.schedule.share(self.world), collate_of(self.task)
        begun: list[Any] = []
        source, made = SPLIT, 0
        for number in itertools.count():
            some = False
            with closing(self._pass(source, epoch, number, share)) as samples:
                while made < self.schedule.iterations_per_epoch:
                    # At least one: a pass begins only when all workers ask for it, even those with a batch left over.
                    drawn = list(itertools.islice(samples, max(share - len(begun), 0 if some else 1)))
                    begun += drawn
                    some = some or bool(drawn)
                    if not self._all(len(begun) >= share):
                        break
                    batch, begun = begun[:share], begun[share:]
                    made += 1
                    yield collate(batch)
            if made == self.schedule.iterations_per_epoch:
                return
            if source == WHOLE and self._all(not some):
                raise HopelessError("not one row of the data set can be used.")
            if source == SPLIT and not self._all(some):
                # Too few usable rows for all workers: for the rest of the epoch each sees every row.
                source = WHOLE

    def _pass(self, source: str, epoch: int, number: int, share: int) -> Generator[Any]:
        key = [self.schedule.seed, 3, epoch, number]
        seed = int(np.random.SeedSequence([*key, self.rank]).generate_state(1)[0])
        drawn = self.part(source).iter_torch_batches(
            batch_size=share,
            collate_fn=_Draw(self.task, key, self.pool),
            device="cpu",
            prefetch_batches=BATCHES_AHEAD,
            local_shuffle_buffer_size=max(share, SHUFFLED_ROWS),
            local_shuffle_seed=seed,
        )
        # Ray's types allow only tensors, not what a collate function returns.
        with closing(cast("Generator[_Drawn]", iter(drawn))) as batches:
            for batch in batches:
                yield from batch.samples

    def _all(self, holds: bool) -> bool:
        """Whether it holds for every worker."""
        if self.world == 1:
            return holds
        vote = torch.tensor(int(holds), device=self.device)
        torch.distributed.all_reduce(vote, torch.distributed.ReduceOp.MIN)
        return bool(vote.item())
