"""The real plan and the real map mechanism with ImageNet's number of rows: `python -m benchmarks.scale`.

    plan        plan 1,281,167 images of 1,000 tags into 4,096 shards, then again with half of them done
    rows        map 10,000, 50,000 and 200,000 images with a null network on 4 local Ray nodes; the largest loses a node
                half way; timed from the first image on
    scheduling  map images that take the network 50 ms each, with 1 to 32 actors, and compare with the ideal

Each part runs in its own process, so that its peak memory is the driver's. `--part plan` runs one part; `--part
scheduling --actors 16 --unit 128` changes its settings. `--json FILE` writes the figures. All rows are generated, and
no image is read, so only the engine is measured.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from irnet_ray.tables import Row

IMAGES, TAGS, SHARDS, UNIT = 1_281_167, 1_000, 4_096, 32
ROWS = (10_000, 50_000, 200_000)
ACTORS = (1, 2, 4, 8, 16, 32)
NULL = pa.schema([pa.field("image_id", pa.string(), nullable=False), pa.field("uri", pa.string(), nullable=False)])

Figures = dict[str, Any]


def images_table(count: int, tags: int, shards: int) -> pa.Table:
    """Rows of `tables.IMAGES` for images that do not exist, sorted by id, with one to three tags each."""
    from irnet_ray import tables

    random = np.random.default_rng(0)
    ids = [f"n{number // 1300:08d}/{number:09d}.JPEG" for number in range(count)]
    names = np.array([f"n{tag:08d}" for tag in range(tags)])
    first = random.integers(tags, size=count)
    more = random.integers(tags, size=(count, 2))
    extra = random.integers(0, 10, size=count)  # one in ten has two tags, one in ten three
    own = [
        sorted({names[first[n]], *names[more[n, : max(0, 2 - int(extra[n]))]]}) if extra[n] < 2 else [names[first[n]]]
        for n in range(count)
    ]
    columns = {
        "image_id": ids,
        "uri": [f"/nowhere/{name}" for name in ids],
        "tags": own,
        "width": np.full(count, 500, np.int32),
        "height": np.full(count, 375, np.int32),
        "content": [f"{number:032x}" for number in range(count)],
        "shard": np.array([tables.shard_of(name, shards) for name in ids], np.int32),
        "tags_unknown": [None] * count,
        "source_id": [None] * count,
    }
    arrays = [pa.array(columns[field.name], field.type) for field in tables.IMAGES]
    return pa.Table.from_arrays(arrays, schema=tables.IMAGES)


@contextmanager
def timed(figures: Figures, name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    figures[name] = round(time.perf_counter() - start, 2)
    print(f"  {name}: {figures[name]:.1f} s, peak {peak():.2f} GB", flush=True)


def peak() -> float:
    """Peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def plan(scratch: Path, images: int = IMAGES, shards: int = SHARDS) -> Figures:
    """Plan all images, then again with every second unit of a stage committed."""
    from irnet_ray.commands.plan import Plan
    from irnet_ray.config.load import Config
    from irnet_ray.runs.folder import Folder

    figures: Figures = {"images": images, "shards": shards}
    table = images_table(images, TAGS, shards)
    figures["table GB"] = round(peak(), 2)

    def fresh() -> Plan:
        return Plan(Folder(str(scratch / "out")), Config(), table, shards)

    with timed(figures, "plan"):
        first = fresh()
        states = {stage.name: first.state(stage) for stage in first.order}
        first.write_inputs()
    assert states["seeds"].startswith("0 of"), states
    done = first.shards("seeds")
    for shard, ids in first.ids_by_shard.items():
        for start in range(0, len(ids), 2 * UNIT):
            rows = [{"image_id": name, "uri": name, "error": None} for name in ids[start : start + UNIT]]
            done.commit(shard, NULL, rows)
    with timed(figures, "plan with half done"):
        again = fresh()
        states = {stage.name: again.state(stage) for stage in again.order}
        again.write_inputs()
    figures["done before"] = states["seeds"]
    figures["peak GB"] = round(peak(), 2)
    return figures


def write_source(folder: Path, ids_by_shard: dict[int, list[str]], shards: int) -> Any:
    """Write a sealed table of these images for a stage to read."""
    from irnet_ray.runs.folder import Folder
    from irnet_ray.runs.shards import Shards

    source = Shards(Folder(str(folder)), shards)
    for shard in range(shards):
        ids = ids_by_shard.get(shard, [])
        source.rows.write_table(source.part(shard), pa.table([pa.array(ids), pa.array(ids)], schema=NULL))
        source.errors.write_table(source.part(shard), pa.table([[]] * 2, schema=NULL))
    return source


def null_stage(source: Any, seconds: float = 0.0, begins: Path | None = None) -> Any:
    """A stage without output columns, whose network step takes `seconds`."""
    from irnet_ray.engine.mapping import MapStage

    return MapStage("scale", NULL, (source,), nothing, partial(Sleeper, seconds, begins), named)


def nothing(row: Row) -> None:
    """Load nothing."""


def named(row: Row, value: None) -> Row:
    """The output row of an image: its id."""
    return {"image_id": row["image_id"]}


class Sleeper:
    """Stands in for a network: sleeps for every image, and records when it began."""

    def __init__(self, seconds: float, begins: Path | None, gpu: bool) -> None:
        self.seconds, self.begins = seconds, begins and begins / uuid.uuid4().hex

    def __call__(self, row: Row, value: None) -> None:
        if self.begins is not None:
            with self.begins.open("ab") as file:
                file.write(struct.pack("d", time.time()))
        time.sleep(self.seconds)


def begun(begins: Path) -> list[np.ndarray]:
    """The times at which each actor began its images, in seconds since the epoch."""
    return [np.frombuffer(file.read_bytes()) for file in begins.iterdir()]


def by_shard(count: int, shards: int) -> dict[int, list[str]]:
    """Ids of a number of images, by shard."""
    from irnet_ray import tables

    found: dict[int, list[str]] = {}
    for number in range(count):
        found.setdefault(tables.shard_of(f"{number:07d}", shards), []).append(f"{number:07d}")
    return {shard: sorted(ids) for shard, ids in found.items()}


def rows(scratch: Path, sizes: Sequence[int] = ROWS) -> Figures:
    """Measure the cost of a row at several sizes on four nodes. The largest loses a node half way."""
    import ray
    from ray.cluster_utils import Cluster

    figures: Figures = {}
    for size in sizes:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
            figures[str(size)] = _rows_of(scratch / str(size), size, cluster, nodes if size == max(sizes) else [])
        finally:
            ray.shutdown()
            cluster.shutdown()
    costs = [figures[str(size)]["milliseconds a row"] for size in sizes]
    figures["largest over smallest cost of a row"] = round(max(costs) / min(costs), 3)
    print(f"  cost of a row, largest over smallest: {figures['largest over smallest cost of a row']}", flush=True)
    return figures


def _rows_of(scratch: Path, size: int, cluster: Any, nodes: list[Any]) -> Figures:
    from irnet_ray.engine.mapping import run_map
    from irnet_ray.engine.session import session
    from irnet_ray.runs.folder import Folder
    from irnet_ray.runs.shards import Shards

    shards = 32
    images = by_shard(size, shards)
    source = write_source(scratch / "source", images, shards)
    out = Folder(str(scratch / "out"))
    lost: list[tuple[int, float]] = []

    def lose() -> None:
        result = Shards(out, shards)
        while not lost:
            time.sleep(1)
            done = sum(len(result.units(shard).files()) for shard in range(shards)) * UNIT
            if done >= size / 2:
                cluster.remove_node(nodes[-1])
                lost.append((done, time.time()))

    if nodes:
        threading.Thread(target=lose, daemon=True).start()
    begins = scratch / "begins"
    begins.mkdir(parents=True)
    with session(None) as devices:
        before = peak()
        made = run_map(null_stage(source, begins=begins), out, images, shards, UNIT, devices, None)
        ended = time.time()
    if made.rows != size or (nodes and not lost):
        raise SystemExit(f"{made.rows} of {size} rows, {made.errors} errors; node lost at {lost}.")
    began = min(times[0] for times in begun(begins))  # leaves out the start of the processes
    seconds = ended - began
    # The cost of a row while all nodes are there: with one node less there are fewer cores.
    whole, until = lost[0] if lost else (size, ended)
    figures = {
        "rows": made.rows,
        "errors": made.errors,
        "seconds": round(seconds, 1),
        "rows a second": round(size / seconds),
        "milliseconds a row": round(1000 * (until - began) / whole, 3),
        "driver peak GB": round(peak(), 2),
        "of it by these rows GB": round(peak() - before, 2),
        "node lost after rows": whole if lost else None,
    }
    print(f"  {size}: {figures}", flush=True)
    return figures


def scheduling(
    scratch: Path, actors: Sequence[int] = ACTORS, unit: int | None = None, seconds: float = 0.05
) -> Figures:
    """The share of the ideal rate that actors reach on images of 50 ms each, from when all actors work."""
    from irnet_ray.engine.mapping import run_map, unit_of
    from irnet_ray.engine.session import session
    from irnet_ray.runs.folder import Folder

    figures: Figures = {}
    with session(None) as devices:
        for count in actors:
            # A dozen units per actor, at least 19 seconds of work, and a share for the time until all have started.
            images = by_shard(count * (12 * (unit or unit_of(count)) + count * UNIT), 8)
            place, begins = scratch / str(count), scratch / f"{count}-begins"
            begins.mkdir()
            source = write_source(place / "source", images, 8)
            run_map(null_stage(source, seconds, begins), Folder(str(place / "out")), images, 8, unit, devices, count)
            times = begun(begins)
            start = max(own[0] for own in times)
            left = sum(int((own >= start).sum()) for own in times)
            end = max(own[-1] for own in times) + seconds
            figures[str(count)] = {
                "share of ideal": round(float(left * seconds / count / (end - start)), 3),
                "unit": unit or unit_of(count),
                "images": left,
                "start-up of all actors, s": round(float(start - min(own[0] for own in times)), 1),
            }
            print(f"  {count} actors: {figures[str(count)]}", flush=True)
    return figures


PARTS: dict[str, Callable[[Path], Figures]] = {"plan": plan, "rows": rows, "scheduling": scheduling}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=sorted(PARTS), help="run only this part")
    parser.add_argument("--actors", type=int, nargs="+", default=ACTORS, help="numbers of actors, for scheduling")
    parser.add_argument("--unit", type=int, help="images per unit, for scheduling; default: the engine's choice")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    if arguments.part:
        scheduled = partial(scheduling, actors=arguments.actors, unit=arguments.unit)
        with tempfile.TemporaryDirectory() as scratch:
            figures = {**PARTS, "scheduling": scheduled}[arguments.part](Path(scratch))
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
        return
    figures = {}
    for name in PARTS:
        print(name, flush=True)
        with tempfile.NamedTemporaryFile() as file:
            command = [sys.executable, "-m", "benchmarks.scale", "--part", name, "--json", file.name]
            subprocess.run(command, check=True)
            figures[name] = json.load(file)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
