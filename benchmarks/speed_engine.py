"""Speed of the map mechanism: against a plain loop, with one process and two, and at its start."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow.compute as pc

from benchmarks.engine_work import SCHEMA, SHARDS, SIZE, finish, load, loop_unit, network, repeats_for
from benchmarks.speed_stages import LABELED, Stages
from benchmarks.timing import Options, Row, row
from irnet_ray.engine.mapping import MapStage, run_map
from irnet_ray.engine.session import Devices, session
from irnet_ray.inputs.folder import read_folder
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.scenes.generate import generate

SCENES, QUICK_SCENES = 500, 64
UNIT, PROCESSES = 32, 2
WORK = 0.05  # seconds of one core per image, less than a small network takes


def engine(options: Options) -> Iterator[Row]:
    """Times are wall times. On a shared machine they are rough."""
    with tempfile.TemporaryDirectory() as place:
        data = generate(Path(place) / "scenes", QUICK_SCENES if options.quick else SCENES, SIZE)
        table = read_folder(data, SHARDS)
        images = Shards(Folder(f"{place}/images"), SHARDS)
        by_shard: dict[int, list[str]] = {}
        for image_id, shard in zip(table["image_id"].to_pylist(), table["shard"].to_pylist(), strict=True):
            by_shard.setdefault(shard, []).append(image_id)
        for shard in range(SHARDS):
            images.rows.write_table(images.part(shard), table.filter(pc.equal(table["shard"], shard)))
        rounds = 1 if options.quick else 3
        repeats = repeats_for(WORK)
        stage = MapStage("benchmark", SCHEMA, (images,), load, partial(network, repeats), finish)
        timed = {f"{1000 * WORK:.0f} ms of work": Timed(stage, by_shard, SHARDS, Path(place))}
        if options.run is not None:
            timed["labels"] = _labels(Stages.of(options.run), Path(place))
        work = next(iter(timed.values()))
        times: dict[str, list[float]] = {}
        start = time.perf_counter()
        with _path_for_workers(), session(None) as devices:
            work.begun(devices, PROCESSES)
            begun = time.perf_counter() - start
            yield row("engine: start-up of Ray and of a first stage", [(begun, 15.0)], 1, "baseline: the limit")
            loop = partial(_looped, images, by_shard, repeats, Path(place))
            pairs = [(work.working(devices, PROCESSES), loop(PROCESSES)) for _ in range(rounds)]
            note = f"{len(table)} scenes of {SIZE[0]}x{SIZE[1]}, {1000 * WORK:.0f} ms of work each, without start-up"
            yield row(f"engine: {PROCESSES} processes, against a plain loop with {PROCESSES}", pairs, 0.9, note)
            loops = [(two, loop(1)) for _, two in pairs]
            note = "without the engine: how much a second process gains on this machine"
            yield row(f"engine: the plain loop itself, {PROCESSES} processes, against 1", loops, None, note)
            for name, each in timed.items():
                alone = [(each.working(devices, PROCESSES), each.working(devices, 1)) for _ in range(rounds)]
                times[name] = [ours for ours, _ in alone]
                note = f"{each.count} images; with one process, loading and finishing have the other core"
                yield row(f"engine: {name}, {PROCESSES} processes, against 1", alone, 1.8, note)
        if hasattr(os, "sched_setaffinity"):
            with _path_for_workers(), _one_core(), session(None) as devices:
                for name, each in timed.items():
                    each.begun(devices, 1)
                    core = [(ours, each.working(devices, 1)) for ours in times[name]]
                    what = f"engine: {name}, {PROCESSES} processes on {PROCESSES} cores, against 1 on 1"
                    yield row(what, core, 1.8, f"{each.count} images")


def _labels(run: Stages, place: Path) -> Timed:
    """The labels stage of a finished run."""
    by_shard: dict[int, list[str]] = {}
    for each in run.rows(LABELED):
        by_shard.setdefault(each["shard"], []).append(each["image_id"])
    return Timed(run.build("labels"), by_shard, run.version.shard_count, place)


class Timed:
    """A stage over some images, in wall time."""

    def __init__(self, stage: MapStage, by_shard: dict[int, list[str]], shards: int, place: Path) -> None:
        self.stage, self.by_shard, self.shards, self.place = stage, by_shard, shards, place
        self.count = sum(map(len, by_shard.values()))
        self.numbers = iter(range(1000))

    def mapped(self, devices: Devices, processes: int, some: dict[int, list[str]]) -> float:
        folder = Folder(str(self.place / f"{self.stage.name}{next(self.numbers)}"))
        start = time.perf_counter()
        with contextlib.redirect_stdout(sys.stderr):  # progress goes there, because the table is on standard output
            run_map(self.stage, folder, some, self.shards, UNIT, devices, processes)
        return time.perf_counter() - start

    def begun(self, devices: Devices, processes: int) -> float:
        """The start-up time of a stage, measured with one image per process."""
        few = {shard: ids[:1] for shard, ids in list(self.by_shard.items())[:processes]}
        return self.mapped(devices, processes, few)

    def working(self, devices: Devices, processes: int) -> float:
        """The time of all images without start-up, which is measured just before."""
        begun = self.begun(devices, processes)
        took = self.mapped(devices, processes, self.by_shard) - begun
        if took <= 0:
            raise AssertionError(
                f"engine: a few images took {begun:.1f} s, longer than all of them: try again on an idle machine."
            )
        return took


def _looped(images: Shards, by_shard: dict[int, list[str]], repeats: int, place: Path, processes: int) -> float:
    """The time of the same work as a plain loop over units."""
    with tempfile.TemporaryDirectory(dir=place) as out:
        units = [
            (images.folder.location, out, shard, ids[first : first + UNIT], repeats)
            for shard, ids in by_shard.items()
            for first in range(0, len(ids), UNIT)
        ]
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            pool.map(_nothing, range(processes))  # starts the processes and their imports first
            start = time.perf_counter()
            pool.map(loop_unit, units, chunksize=1)
            return time.perf_counter() - start


def _nothing(_: int) -> None:
    return None


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Processes that start within the block share one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _path_for_workers() -> Iterator[None]:
    """Let Ray's workers find this package, which they import too."""
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
