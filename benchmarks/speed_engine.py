"""Speed of the map mechanism: against a plain loop with as many processes, one process against two, and its start."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.timing import Options, Row, row
from irnet_ray.engine.mapping import MapStage, run_map
from irnet_ray.engine.session import Devices, session
from irnet_ray.inputs.folder import read_folder
from irnet_ray.inputs.scenes import generate
from irnet_ray.run import Folder, Shards
from irnet_ray.stages.images import load_image

SCENES, QUICK_SCENES = 500, 64
SIZE = (96, 128)
UNIT, SHARDS, PROCESSES = 32, 4, 2
ROUNDS = 120  # of the work per image, about 50 ms
SCHEMA = pa.schema([pa.field("image_id", pa.string(), nullable=False), pa.field("mean", pa.float64(), nullable=False)])


def load(each: dict[str, Any]) -> np.ndarray:
    return load_image(each["uri"], 1280)


def network(gpu: bool) -> Callable[[dict[str, Any], np.ndarray], float]:
    """What stands for a network: work on one core about as long as a small network's."""

    def step(each: dict[str, Any], image: np.ndarray) -> float:
        value = image.astype(np.float32) / 255
        for _ in range(ROUNDS):
            value = np.sqrt(value * value + 1e-3)
        return float(value.mean())

    return step


def finish(each: dict[str, Any], value: float) -> dict[str, Any]:
    return {"image_id": each["image_id"], "mean": value}


def _shard(given: tuple[str, str, int, list[str]]) -> None:
    """A plain loop over one unit: read its rows, do the three steps, commit."""
    images, out, shard, ids = given
    source, result, step = Shards(Folder(images), SHARDS), Shards(Folder(out), SHARDS), network(False)
    found = source.rows.read_table(source.part(shard), ids=ids).to_pylist()
    rows = [{"uri": each["uri"], "error": None, **finish(each, step(each, load(each)))} for each in found]
    result.commit(shard, SCHEMA, rows)


def engine(options: Options) -> Iterator[Row]:
    """Times are on the wall: on a machine that others use too, they only indicate."""
    with tempfile.TemporaryDirectory() as place:
        data = generate(Path(place) / "scenes", QUICK_SCENES if options.quick else SCENES, SIZE)
        table = read_folder(data, SHARDS)
        images = Shards(Folder(f"{place}/images"), SHARDS)
        by_shard: dict[int, list[str]] = {}
        for image_id, shard in zip(table["image_id"].to_pylist(), table["shard"].to_pylist(), strict=True):
            by_shard.setdefault(shard, []).append(image_id)
        for shard in range(SHARDS):
            images.rows.write_table(images.part(shard), table.filter(pc.equal(table["shard"], shard)))
        stage = MapStage("benchmark", SCHEMA, (images,), load, network, finish)
        rounds = 1 if options.quick else 3
        yield from _rows(stage, images, by_shard, Path(place), rounds, len(table))


def _rows(
    stage: MapStage, images: Shards, by_shard: dict[int, list[str]], place: Path, rounds: int, count: int
) -> Iterator[Row]:
    numbers = iter(range(1000))

    def mapped(devices: Devices, processes: int, some: dict[int, list[str]]) -> float:
        start = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):  # its progress: the table is on standard output
            run_map(stage, Folder(str(place / f"mapped{next(numbers)}")), some, SHARDS, UNIT, devices, processes)
        return time.perf_counter() - start

    def working(devices: Devices, processes: int) -> float:
        """Without what every stage pays before it works: a stage of one image, measured just before."""
        begun = mapped(devices, processes, few)
        took = mapped(devices, processes, by_shard) - begun
        if took <= 0:
            raise AssertionError(
                f"engine: a stage of one image took {begun:.1f} s, one of {count} less: try when idle."
            )
        return took

    def looped(processes: int) -> float:
        out = str(place / f"looped{next(numbers)}")
        units = [
            (images.folder.location, out, shard, ids[first : first + UNIT])
            for shard, ids in by_shard.items()
            for first in range(0, len(ids), UNIT)
        ]
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            pool.map(_nothing, range(processes))  # its processes are there, and have imported
            start = time.perf_counter()
            pool.map(_shard, units, chunksize=1)
            return time.perf_counter() - start

    first = next(iter(by_shard.items()))
    few = {first[0]: first[1][:1]}
    start = time.perf_counter()
    with _path_for_workers(), session(None) as devices:
        mapped(devices, PROCESSES, few)
        yield row(
            "engine: start-up of Ray and of a first stage",
            [(time.perf_counter() - start, 15.0)],
            1,
            "baseline: the limit",
        )
        times = [(working(devices, PROCESSES), looped(PROCESSES)) for _ in range(rounds)]
        note = f"{count} scenes of {SIZE[0]}x{SIZE[1]}, start-up taken off"
        yield row(f"engine: {PROCESSES} processes, against a plain loop of as many", times, 0.9, note)
        alone = [(ours, working(devices, 1)) for ours, _ in times]
        yield row(f"engine: {PROCESSES} processes, against 1", alone, 1.8, "the same stage")


def _nothing(_: int) -> None:
    return None


@contextlib.contextmanager
def _path_for_workers() -> Iterator[None]:
    """Ray's workers import this module too: they look where this process does."""
    before = os.environ.get("PYTHONPATH")
    here = str(Path(__file__).parent.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([here, before] if before else [here])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
