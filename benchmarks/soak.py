"""Checks that a long run does not grow: maps many tiny images, and watches memory, open files and shared memory.

    python -m benchmarks.soak --images 20000

The code that labels photos decodes the images, passes them through a network that does nothing, commits and seals them.
Prints a table. Exit code 1 if the driver grows by more than `TOLERANCE` after its first thousand images, if its open
files or those of Ray's processes grow, or if anything is left over at the end. Reads /proc: Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from PIL import Image

from irnet_ray import tables
from irnet_ray.engine.mapping import MapStage, run_map
from irnet_ray.engine.session import session
from irnet_ray.inputs.decode import decode_rgb
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.tables import Row

TOLERANCE = 1.15  # driver's memory at the end / at the first sample; more than 1 because caches fill for a while
SPARE = 4  # files that Ray's client may keep from session to session; a leak would keep one for each unit
FILES = 64  # different image files, which all rows share
PER_SHARD = 1000  # images
MEGABYTE = 2**20

SCHEMA = pa.schema([pa.field("image_id", pa.string(), nullable=False), pa.field("mean", pa.float64(), nullable=False)])


def load(row: Row) -> np.ndarray:
    return decode_rgb(row["uri"])


def network(gpu: bool) -> Callable[[Row, Any], Any]:
    return lambda row, image: image


def finish(row: Row, image: np.ndarray) -> Row:
    return {"image_id": row["image_id"], "mean": float(image.mean())}


@dataclass(frozen=True)
class Sample:
    """The resources in use at one moment."""

    images: int  # committed
    driver: float  # resident memory of the driver, MB
    driver_files: int  # its open files and sockets
    ray_files: int  # those of Ray's processes
    ray_processes: int
    store: float  # Ray's object store in use, MB

    def __str__(self) -> str:
        return (
            f"{self.images:8,} {self.driver:11.1f} {self.driver_files:12d} {self.ray_processes:14d} "
            f"{self.ray_files:10d} {self.store:13.1f}"
        )


HEADING = "  images  driver, MB  driver files  Ray processes  Ray files  object store, MB"


def resident(pid: int | str = "self") -> float:
    """A process's own memory without shared memory, MB."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return (int(fields["VmRSS"].split()[0]) - int(fields["RssShmem"].split()[0])) / 1024


def open_files(pid: int | str = "self") -> int:
    """The number of files and sockets that a process has open. 0 if it is gone."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def kinds() -> Counter[str]:
    """Open files of this process by kind: a path, or socket, pipe, eventpoll and others without their numbers."""
    found: Counter[str] = Counter()
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[re.sub(r":\[\d+\]$", "", os.readlink(file))] += 1
    return found


def descendants() -> set[int]:
    """Ids of the processes that this process and its descendants started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_bytes().rpartition(b")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    waiting = list(children.get(os.getpid(), []))
    while waiting:
        found.add(pid := waiting.pop())
        waiting += children.get(pid, [])
    return found


def shared_memory() -> set[str]:
    """Names in /dev/shm that no living process has open: leftovers."""
    names = {str(path) for path in Path("/dev/shm").rglob("*")}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                maps = (entry / "maps").read_text()
                names -= {os.readlink(file) for file in (entry / "fd").iterdir()}
            except OSError:
                continue
            names = {name for name in names if name not in maps}
    return names


@dataclass
class Watch:
    """Takes a sample each time another `step` images are committed."""

    shards: Shards
    unit: int
    step: int
    samples: list[Sample] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def committed(self) -> int:
        """Images in committed units. In a run that never stopped, all units but the last have the same size."""
        return self.unit * sum(len(self.shards.units(shard).files()) for shard in range(self.shards.count))

    def take(self, images: int) -> None:
        total, free = ray.cluster_resources(), ray.available_resources()
        used = total.get("object_store_memory", 0) - free.get("object_store_memory", 0)
        others = descendants()
        self.samples.append(
            Sample(images, resident(), open_files(), sum(map(open_files, others)), len(others), used / MEGABYTE)
        )
        print(self.samples[-1], flush=True)

    def run(self) -> None:
        while not self.ended.wait(0.5):
            images = self.committed()
            if images >= self.step * (len(self.samples) + 1):
                self.take(images)


def images_table(folder: Path, count: int, shards: int) -> pa.Table:
    """Rows of `tables.IMAGES` for `count` images, which share `FILES` tiny files."""
    rng = np.random.default_rng(0)
    for number in range(FILES):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{number}.png")
    rows = [
        {
            "image_id": f"{number:09d}.png",
            "uri": str(folder / f"{number % FILES}.png"),
            "tags": ["noise"],
            "width": 8,
            "height": 8,
            "content": None,
            "shard": number % shards,
        }
        for number in range(count)
    ]
    return pa.Table.from_pylist(rows, tables.IMAGES)


def soak(images: int, unit: int, step: int) -> list[Sample]:
    """Map a number of images in a new Ray session. Returns the samples; the last is taken after the end."""
    count = max(1, images // PER_SHARD)
    with tempfile.TemporaryDirectory() as name, session(None) as devices:
        place = Path(name)
        table = images_table(place, images, count)
        inputs, folder = Shards(Folder(f"{place}/images"), count), Folder(f"{place}/soak")
        by_shard: dict[int, list[str]] = {}
        for shard in range(count):
            part = table.filter(pa.compute.equal(table["shard"], shard))
            inputs.rows.write_table(inputs.part(shard), part)
            by_shard[shard] = part["image_id"].to_pylist()
        del table, part
        watch = Watch(Shards(folder, count), unit, step)
        watching = threading.Thread(target=watch.run)
        watching.start()
        try:
            stage = MapStage("soak", SCHEMA, (inputs,), load, network, finish)
            done = run_map(stage, folder, by_shard, count, unit, devices, workers=None)
        finally:
            watch.ended.set()
            watching.join()
        assert (done.rows, done.errors) == (images, 0), done
        watch.take(images)
        return watch.samples


def main(arguments: list[str] | None = None) -> int:
    """Print the table and the checks. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000, help="images to map")
    parser.add_argument("--unit", type=int, default=50, help="images per unit")
    parser.add_argument("--step", type=int, default=1000, help="images between two samples")
    options = parser.parse_args(arguments)
    forgotten = shared_memory()
    print(HEADING)
    soak(4 * options.unit, options.unit, options.images)  # imports and pools open files once per process
    before = kinds()
    samples = soak(options.images, options.unit, options.step)
    ends = time.monotonic() + 30  # Ray's processes end with their driver, with a delay
    while descendants() and time.monotonic() < ends:
        time.sleep(0.2)
    after, left = kinds(), shared_memory() - forgotten
    more = ", ".join(f"{name} +{count}" for name, count in sorted((after - before).items()))
    first, last = samples[0], samples[-1]
    running = samples[:-1] or samples  # at the end the actors are gone, and so are their files
    checks = {
        f"driver's memory at the end / at {first.images:,} images, at most {TOLERANCE}": (
            f"{last.driver / first.driver:.3f}",
            last.driver <= TOLERANCE * first.driver,
        ),
        "driver's open files in the last sample / the first": (
            f"{running[-1].driver_files} / {first.driver_files}",
            running[-1].driver_files <= first.driver_files + 8,
        ),
        "open files per process of Ray in the last sample / the first": (
            f"{running[-1].ray_files / running[-1].ray_processes:.1f} / {first.ray_files / first.ray_processes:.1f}",
            running[-1].ray_files / running[-1].ray_processes <= 1.25 * first.ray_files / first.ray_processes,
        ),
        f"driver's open files after Ray's end / before its start, at most {SPARE} more": (
            f"{after.total()} / {before.total()}{f' ({more})' if more else ''}",
            after.total() <= before.total() + SPARE,
        ),
        "names left in /dev/shm": (", ".join(sorted(left)) or "none", not left),
        "processes left": (str(len(descendants())), not descendants()),
    }
    for name, (value, good) in checks.items():
        print(f"{'ok  ' if good else 'FAIL'}  {name}: {value}")
    return 0 if all(good for _, good in checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
