"""A training of a toy network in a process of its own, so that a test can kill it: `toy_training.py FOLDER`.

FOLDER/hold holds "<rank> <call>": at that call of the loss, counted from the process's start, the worker of that
rank writes its process id to FOLDER/holding and waits to be killed. FOLDER/calls gets a line per call.
FOLDER/broken makes the loss NaN.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from irnet_ray.engine.training import Batch, Schedule, TrainStage

IMAGES = 10
SCHEDULE = Schedule(epochs=4, iterations_per_epoch=3, batch_size=4, power=0.9, seed=7)
WEIGHT_DECAY = 1e-2
WORKERS = 2


class ToyTask:
    """Linear regression with noise in its samples, which resuming must draw alike."""

    images = IMAGES

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.folder, self.calls = folder, 0
        self.model = nn.Linear(3, 2)
        self.model.register_buffer("finished", torch.zeros(1))

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.model.weight], "lr": 0.1}, {"params": [self.model.bias], "lr": 0.5}]

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        x = torch.tensor([np.sin(index), np.cos(index), 1.0]) + torch.from_numpy(rng.normal(0, 0.1, 3))
        return {"x": x.float(), "y": torch.tensor([index / IMAGES, -1.0])}

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        self._perhaps_hold()
        error = (model(batch["x"]) - batch["y"]).square()
        total = error.mean()
        if (self.folder / "broken").exists():
            total = total * torch.nan
        return {"total": total, "largest": error.max()}

    def finish(self, device: torch.device, rank: int, world: int) -> dict[str, Any]:
        self.model.get_buffer("finished").fill_(world)
        return {"world": world, "rank": rank}

    def _perhaps_hold(self) -> None:
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        self.calls += 1
        with (self.folder / "calls").open("a") as file:
            file.write(f"{os.getpid()} {rank} {self.calls}\n")
        hold = self.folder / "hold"
        if hold.exists() and hold.read_text() == f"{rank} {self.calls}":
            (self.folder / "holding.tmp").write_text(str(os.getpid()))
            (self.folder / "holding.tmp").rename(self.folder / "holding")
            time.sleep(600)


def main(folder: Path) -> None:
    from irnet_ray.engine.session import session
    from irnet_ray.engine.training import run_training
    from irnet_ray.run import Folder

    stage = TrainStage("toy", lambda: ToyTask(folder), SCHEDULE, WEIGHT_DECAY)
    with session(None) as devices:
        print(run_training(stage, Folder(str(folder / "stage")), devices, WORKERS))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
