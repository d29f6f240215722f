"""Trainings of a toy network in a process of its own, so that a test can kill it: `toy_training.py FOLDER NAME...`.

NAME is a stage: `indexed`, or `streamed`, whose rows come from FOLDER/rows. FOLDER/hold holds "<name> <rank> <call>":
at that call of the loss, counted from the process's start, the worker of that rank writes its process id to
FOLDER/holding and waits to be killed. FOLDER/broken, alike, makes the loss of that call NaN; FOLDER/fill fills the
file system of FOLDER/<name> up. FOLDER/calls gets a line per call, with the batch.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from irnet_ray.engine.schedule import Schedule
from irnet_ray.engine.task import TrainStage

IMAGES = 10
SCHEDULE = Schedule(epochs=4, iterations_per_epoch=3, batch_size=4, power=0.9, seed=7, warmup=2)
WEIGHT_DECAY = 1e-2
CLIP = 1.5
WORKERS = 2


class ToyTask:
    """Linear regression with noisy samples. A resumed training must draw the same noise."""

    images = IMAGES

    def __init__(self, folder: Path, name: str) -> None:
        torch.manual_seed(0)
        self.folder, self.name, self.calls, self.weight = folder, name, 0, 1.0
        self.model = nn.Linear(3, 2)
        self.model.register_buffer("finished", torch.zeros(1))

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.model.weight], "lr": 0.02}, {"params": [self.model.bias], "lr": 0.1}]

    def sample(self, item: int | dict[str, Any], rng: np.random.Generator, /) -> dict[str, Any] | None:
        if isinstance(item, dict):
            if item["about"]["broken"]:
                return None
            item = int(item["number"])
        x = torch.tensor([np.sin(item), np.cos(item), 1.0]) + torch.from_numpy(rng.normal(0, 0.1, 3))
        return {"number": item, "x": x.float(), "y": torch.tensor([item / IMAGES, -1.0])}

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Nested, as for a detector."""
        return {
            "images": [sample["x"] for sample in samples],
            "truth": {"y": torch.stack([sample["y"] for sample in samples])},
            "numbers": [sample["number"] for sample in samples],
        }

    def advance(self, done: float) -> None:
        self.weight = 1 + done / 10

    def losses(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        x, y = torch.stack(batch["images"]), batch["truth"]["y"]
        broken = self._called(batch["numbers"], x)
        error = (model(x) - y).square() * self.weight
        return {"total": error.mean() * (torch.nan if broken else 1), "largest": error.max()}

    def finish(self, device: torch.device, rank: int, world: int) -> dict[str, Any]:
        self.model.get_buffer("finished").fill_(world)
        return {"world": world, "rank": rank}

    def _called(self, numbers: list[int], x: Tensor) -> bool:
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        self.calls += 1
        line = {"name": self.name, "rank": rank, "pid": os.getpid(), "numbers": numbers, "x": x.tolist()}
        with (self.folder / "calls").open("a") as file:
            file.write(json.dumps(line) + "\n")
        here = f"{self.name} {rank} {self.calls}"
        hold, broken, fill = (self.folder / name for name in ("hold", "broken", "fill"))
        if fill.exists() and fill.read_text() == here:
            fill_up(self.folder / self.name / "ballast")
        if hold.exists() and hold.read_text() == here:
            (self.folder / "holding.tmp").write_text(str(os.getpid()))
            (self.folder / "holding.tmp").rename(self.folder / "holding")
            time.sleep(600)
        return broken.exists() and broken.read_text() == here


def fill_up(ballast: Path) -> None:
    """Leave no byte in a file's file system, which must be small."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        for _ in range(16 * 1024):
            file.write(bytes(4096))


def write_rows(folder: Path, numbers: list[int], broken: list[int]) -> None:
    """Parquet files of rows, four of which are a row group, in three unequal files."""
    (folder / "rows").mkdir(parents=True)
    for part, some in enumerate((numbers[:1], numbers[1:3], numbers[3:])):
        rows = [{"image_id": f"image {n}", "number": n, "about": {"broken": n in broken}} for n in some]
        if rows:
            pq.write_table(pa.Table.from_pylist(rows), folder / "rows" / f"{part}.parquet", row_group_size=4)


def read_rows(folder: Path) -> Any:
    import ray.data

    return ray.data.read_parquet(str(folder / "rows"))


def stage(folder: Path, name: str, schedule: Schedule = SCHEDULE) -> TrainStage:
    return TrainStage(
        name,
        partial(ToyTask, folder, name),
        schedule,
        WEIGHT_DECAY,
        rows=partial(read_rows, folder) if name == "streamed" else None,
        optimizer="momentum",
        clip=CLIP,
    )


def calls(folder: Path, name: str, rank: int) -> list[list[dict[str, Any]]]:
    """The calls of the loss by each process of a rank, in the order of their starts."""
    made: dict[int, list[dict[str, Any]]] = {}
    for line in (folder / "calls").read_text().splitlines():
        call = json.loads(line)
        if (call["name"], call["rank"]) == (name, rank):
            made.setdefault(call["pid"], []).append(call)
    return list(made.values())


def main(folder: Path, names: list[str]) -> None:
    from irnet_ray.engine.session import session
    from irnet_ray.engine.training import run_training
    from irnet_ray.runs.folder import Folder

    with session(None) as devices:
        for name in names:
            print(run_training(stage(folder, name), Folder(str(folder / name)), devices, WORKERS))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
