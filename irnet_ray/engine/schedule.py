"""A training's schedule in iterations, and which images each batch holds. Does not import torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Schedule:
    """How long to train, in iterations, and the learning rate: linear warm-up, polynomial decay (paper 6.1)."""

    epochs: int
    iterations_per_epoch: int
    batch_size: int  # images per iteration, over all workers
    power: float
    seed: int
    warmup: int = 0  # iterations

    @staticmethod
    def plan(
        images: int, epochs: int, min_iterations: int, batch_size: int, power: float, seed: int, warmup: int = 0
    ) -> Schedule:
        """At least `epochs` passes over `images`, and at least `min_iterations`: small data sets repeat."""
        per_epoch = max(math.ceil(images / batch_size), math.ceil(min_iterations / epochs))
        return Schedule(epochs, per_epoch, batch_size, power, seed, warmup)

    @property
    def iterations(self) -> int:
        """All iterations of the training."""
        return self.epochs * self.iterations_per_epoch

    def factor(self, iteration: int) -> float:
        """Factor of the learning rate at an iteration: min(1, (i + 1) / warmup) (1 - i / iterations) ^ power."""
        warm = min(1.0, (iteration + 1) / self.warmup) if self.warmup else 1.0
        return warm * (1 - iteration / self.iterations) ** self.power

    def share(self, world: int) -> int:
        """How many images of a batch each worker gets; at least one."""
        return max(1, self.batch_size // world)

    def indices(self, epoch: int, images: int, rank: int, world: int) -> list[list[int]]:
        """The image indices of each of this worker's batches in an epoch; all workers have the same number of batches.

        Each pass over the images is shuffled by itself, so all images occur about equally often. A worker's share of a
        batch is never empty.
        """
        share = self.share(world)
        needed = share * world * self.iterations_per_epoch
        rng = np.random.default_rng([self.seed, epoch])
        passes = [rng.permutation(images) for _ in range(math.ceil(needed / images))]
        grid = np.concatenate(passes)[:needed].reshape(self.iterations_per_epoch, world, share)
        return grid[:, rank].tolist()
