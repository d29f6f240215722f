"""A map stage whose steps fail as the image's id says: `03-kill-load`, `05-raise-network`. Other images succeed.

kill      ends its process
hang      sleeps for ever
seize     sleeps for ever in C, and lets no other thread of Python run
eat       allocates without end; its process may have 500 MB more than it has
swell     allocates without end in the memory cgroup that LOG/cgroup names, so that the kernel ends it
wait      waits until there is a file LOG/go
large     makes a row of 64 kB that cannot be compressed
raise     raises, `odd` an error with a kind of its own
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from irnet_ray.engine.mapping import MapStage
from irnet_ray.runs.shards import Shards
from irnet_ray.tables import Row

SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("trail", pa.string(), nullable=False),
        pa.field("upstream", pa.int64(), nullable=False),
    ]
)


class OddError(Exception):
    kind = "odd"


def eat() -> None:
    """Allocate without end, 8 GB at the very most."""
    eaten = [bytearray(os.urandom(4096) * 4096) for _ in range(512)]
    raise AssertionError(f"ate {len(eaten)} pieces unharmed")


def eat_within(most: int) -> None:
    """Allocate without end in an address space that ends soon."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + most, before[1]))
    try:
        eat()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def perhaps_fail(log: Path, step: str, row: Row) -> None:
    image_id = row["image_id"]
    with (log / f"{step}-{image_id}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    if image_id.endswith(f"kill-{step}"):
        os.kill(os.getpid(), signal.SIGKILL)
    if image_id.endswith(f"hang-{step}"):
        time.sleep(3600)
    if image_id.endswith(f"seize-{step}"):
        ctypes.PyDLL(None).sleep(3600)
    if image_id.endswith(f"eat-{step}"):
        eat_within(500_000_000)
    if image_id.endswith(f"swell-{step}"):
        Path((log / "cgroup").read_text(), "cgroup.procs").write_text(str(os.getpid()))
        eat()
    while image_id.endswith(f"wait-{step}") and not (log / "go").exists():
        time.sleep(0.05)
    if image_id.endswith(f"raise-{step}"):
        raise ValueError(f"{step} of\n  {image_id}")
    if image_id.endswith(f"odd-{step}"):
        raise OddError(step)


def load(log: Path, row: Row) -> str:
    perhaps_fail(log, "load", row)
    return f"loaded {row['image_id']}"


class Network:
    """Takes the images of a unit two at a time."""

    def __init__(self, log: Path, gpu: bool) -> None:
        self.log = log
        with (log / "networks").open("a") as file:
            file.write(f"{gpu}\n")

    def batches(self, values: list[Any]) -> list[list[int]]:
        places = list(range(len(values)))
        return [places[first : first + 2] for first in places[::2]]

    def run_batch(self, rows: list[Row], values: list[Any]) -> list[Any]:
        with (self.log / "batches").open("a") as file:
            file.write(f"{len(rows)}\n")
        return [self(row, value) for row, value in zip(rows, values, strict=True)]

    def __call__(self, row: Row, value: Any) -> Any:
        perhaps_fail(self.log, "network", row)
        return f"{value}, seen"


def finish(log: Path, row: Row, value: Any) -> Row:
    perhaps_fail(log, "finish", row)
    trail = os.urandom(32768).hex() if row["image_id"].endswith("large") else f"{value}, finished"
    return {"image_id": row["image_id"], "trail": trail, "upstream": row["number"]}


def stage(log: Path, images: Shards, upstream: Shards) -> MapStage:
    return MapStage("toy", SCHEMA, (images, upstream), partial(load, log), partial(Network, log), partial(finish, log))
