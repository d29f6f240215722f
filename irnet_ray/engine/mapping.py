"""The map mechanism: every image once, sharded, resumable, on Ray Data. Table in, table out.

    units ▶ load (CPU) ▶ network (actor pool, on GPUs where there are any) ▶ finish (CPU) ▶ commit ▶ seal

A unit, a few dozen images of one shard, is one row of the data set: it is never split, so writing it is a commit.
An image that kills its process, hangs or exhausts the memory takes its whole unit down. A second pass (`isolation`)
runs what is left one image at a time, so such an image costs only itself. A result that cannot be written stops the
run instead, because the next image would fail alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import ray
import ray.data
from ray.data import ActorPoolStrategy

from irnet_ray.engine.failures import IMAGE_SECONDS
from irnet_ray.engine.isolation import run_isolated
from irnet_ray.engine.profile import PROFILE, profile
from irnet_ray.engine.progress import Reading, display
from irnet_ray.engine.session import Devices, raised
from irnet_ray.engine.steps import STARTED, Commit, Finish, Load, Network
from irnet_ray.engine.steps import MapStage as MapStage
from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.tables import Row as Row

if TYPE_CHECKING:
    from collections.abc import Generator

UNIT, LARGEST_UNIT = 32, 128  # images


@dataclass
class Counts:
    """What this run has committed, for the display; only the files decide what is done."""

    done: int = 0
    failed: int = 0
    spent: dict[str, float] = field(default_factory=dict)  # seconds in each step, over all processes

    def add(self, committed: Row) -> None:
        """Count what `Commit` returned. Raises UserError if it could not write."""
        if committed["refused"]:
            raise UserError(committed["refused"])
        self.done, self.failed = self.done + committed["done"], self.failed + committed["failed"]
        for step, seconds in committed["spent"].items():
            self.spent[step] = self.spent.get(step, 0.0) + seconds


@dataclass
class MapResult:
    """Rows and errors of a map stage over all its shards, and how many of its images this run computed."""

    rows: int
    errors: int
    computed: int = 0


def run_map(
    stage: MapStage,
    folder: Folder,
    images: dict[int, list[str]],
    shards: int,
    unit_size: int | None,
    devices: Devices,
    workers: int | None,
    image_seconds: float = IMAGE_SECONDS,
) -> MapResult:
    """Run a stage over all images that it has not done yet, and seal every shard.

    Args:
        images: the image ids of each shard.
        unit_size: images that are computed and committed together; None for `unit_of` the number of actors.
        workers: network actors; None for as many as `Devices.network_workers` allows.
        image_seconds: time limit of a step for one image; its process is then ended.

    Raises:
        UserError: a result cannot be written.
        RuntimeError: no network could be built, or a sealed stage would not hold every image exactly once.
    """
    result = Shards(folder, shards)
    open_shards = sorted(set(range(shards)) - result.sealed())
    total = sum(len(ids) for ids in images.values())
    left = {shard: result.missing(shard, images.get(shard, [])) for shard in open_shards}
    computed, counts = sum(map(len, left.values())), Counts()
    if computed:
        units, start = _units(left, unit_size or unit_of(devices.network_workers(workers))), time.monotonic()
        actors = _actors(units, devices, workers)
        folder.remove(STARTED)  # from a run that was interrupted
        note = _notes(stage.unit, folder, actors, len(units[0]["ids"]), counts)
        with display(stage.name, stage.unit, lambda: Reading(total - computed + counts.done, total, note())):
            for committed in _run_units(stage, result, units, devices, workers, image_seconds):
                counts.add(committed)
            left = {shard: result.missing(shard, images[shard]) for shard, ids in left.items() if ids}
            for committed in run_isolated(stage, result, left, devices, workers, image_seconds):
                counts.add(committed)
        seconds = time.monotonic() - start
        folder.remove(STARTED)
        folder.write_json(PROFILE, profile(computed, seconds, counts.spent, actors, devices.cpus, devices.gpus))
    seal = ray.remote(Shards.seal).options(max_retries=3)
    try:
        ray.get([seal.remote(result, shard, stage.schema, images.get(shard, [])) for shard in open_shards])
    except ray.exceptions.RayError as error:
        raise raised(stage.name, error) from error
    rows, errors = result.counts()
    if rows + errors != total:
        raise RuntimeError(f"{stage.name}: {rows} rows and {errors} errors are not {total} {stage.unit}.")
    return MapResult(rows, errors, computed)


def unit_of(actors: int) -> int:
    """Images per unit. It grows with the number of actors, because one driver hands out all units.

    Measured: a driver hands out about ten units a second, and 16 actors at 50 ms per image finish ten of 32 images.
    """
    return min(LARGEST_UNIT, max(UNIT, 8 * actors))


def _notes(unit: str, folder: Folder, actors: int, first: int, counts: Counts) -> Callable[[], str]:
    """What the display says beside the count, which stays 0 until the first unit of `first` images is committed."""
    started = False

    def note() -> str:
        nonlocal started
        if counts.done:
            return f"{counts.failed} errors" if counts.failed else ""
        started = started or folder.exists(STARTED)
        if not started:
            return f"starting {actors} process{'es' if actors > 1 else ''}"
        return f"computing the first {first} {unit}"

    return note


def _units(left: dict[int, list[str]], size: int) -> list[Row]:
    return [
        {"shard": shard, "ids": ids[start : start + size]}
        for shard, ids in sorted(left.items())
        for start in range(0, len(ids), size)
    ]


def _actors(units: list[Row], devices: Devices, workers: int | None) -> int:
    return min(len(units), devices.network_workers(workers))


def _run_units(
    stage: MapStage, result: Shards, units: list[Row], devices: Devices, workers: int | None, seconds: float
) -> Iterator[Row]:
    """Run units; yields what `Commit` returned for each, except for units whose processes died twice."""
    actors = _actors(units, devices, workers)
    gpu = devices.gpus > 0
    # A unit whose processes died is dropped here; the second pass runs its images.
    ray.data.DataContext.get_current().max_errored_blocks = len(units)
    data = (
        ray.data.from_items(units, override_num_blocks=len(units))
        .map(Load.of(stage, seconds), num_cpus=1, max_retries=1)
        .map(
            Network,  # type: ignore[arg-type]  # Ray's type allows only functions, not a class that each actor builds
            fn_constructor_args=(stage, gpu, seconds, result.folder),
            compute=ActorPoolStrategy(size=actors),
            # An actor claims no core, so that loading and finishing always get one.
            num_cpus=0,
            num_gpus=devices.gpu_share(actors),
            max_restarts=-1,
            max_task_retries=1,
        )
        .map(Finish.of(stage, seconds), num_cpus=1, max_retries=1)
        .map(Commit(result, stage.schema), num_cpus=1, max_retries=1)
    )
    try:
        with closing(cast("Generator[Row]", iter(data.iter_rows()))) as rows:
            yield from rows
    except ray.exceptions.RayError as error:
        raise raised(stage.name, error) from error
