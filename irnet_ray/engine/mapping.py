"""The map mechanism: every image once, sharded, resumable, on Ray Data. Table in, table out.

    units ▶ load (CPU) ▶ network (actor pool, on GPUs where there are any) ▶ finish (CPU) ▶ commit ▶ seal

A unit, a few dozen images of one shard, is one row of the data set: it is never split, so writing it is a commit.
A second pass runs what is left one image at a time, so that an image which kills its process costs that image.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, Datasink

from irnet_ray.engine.progress import Reading, display
from irnet_ray.engine.session import Devices, reason
from irnet_ray.run import Folder, Shards

Row = dict[str, Any]


@dataclass(frozen=True)
class MapStage:
    """One map stage: what to do with an image. Each step sees one image and may raise.

    `sources` are folders of sealed parts, all sharded alike; their columns are joined by `image_id` into the
    row that the steps see. The first must hold every image.
    """

    name: str
    schema: pa.Schema
    sources: tuple[Shards, ...]
    load: Callable[[Row], Any]
    network: Callable[[bool], Callable[[Row, Any], Any]]  # whether a GPU is there ▶ the step; built once an actor
    finish: Callable[[Row, Any], Row]


@dataclass
class Item:
    """One image on its way: the row it came from, what the last step made, or why it failed."""

    row: Row
    value: Any = None
    error: Row | None = None

    def advance(self, stage: str, step: Callable[[Row, Any], Any]) -> None:
        """Apply a step, or record its failure. A failed image passes on untouched."""
        if self.error is not None:
            return
        try:
            self.value = step(self.row, self.value)
        except Exception as error:
            kind = getattr(error, "kind", type(error).__name__)
            self.error = {"stage": stage, "kind": kind, "message": " ".join(str(error).split())[:500]}
            self.value = None


@dataclass
class _Load:
    stage: MapStage

    def __call__(self, unit: Row) -> Row:
        items = [Item(row, error=row.pop("error", None)) for row in self._rows(unit["shard"], list(unit["ids"]))]
        for item in items:
            item.advance(self.stage.name, lambda row, _: self.stage.load(row))
        return {"shard": unit["shard"], "items": pickle.dumps(items, protocol=5)}

    def _rows(self, shard: int, ids: list[str]) -> list[Row]:
        rows: dict[str, Row] = {}
        for source in self.stage.sources:
            for row in source.rows.read_table(source.part(shard), ids=ids).to_pylist():
                rows.setdefault(row["image_id"], {}).update(row)
        for source in self.stage.sources[1:]:
            # An image that failed in an earlier stage passes through with its first error.
            for row in source.errors.read_table(source.part(shard), ids=ids).to_pylist():
                rows[row["image_id"]]["error"] = {key: row[key] for key in ("stage", "kind", "message")}
        return [rows[image_id] for image_id in ids]


class _Network:
    def __init__(self, stage: MapStage, gpu: bool) -> None:
        import torch

        if not gpu:
            torch.set_num_threads(1)  # one actor a core: threads of several actors would fight over the cores
        self.name = stage.name
        self.step = stage.network(gpu)

    def __call__(self, unit: Row) -> Row:
        items: list[Item] = pickle.loads(unit["items"])
        for item in items:
            item.advance(self.name, self.step)
        return {"shard": unit["shard"], "items": pickle.dumps(items, protocol=5)}


@dataclass
class _Finish:
    stage: MapStage

    def __call__(self, unit: Row) -> Row:
        items: list[Item] = pickle.loads(unit["items"])
        for item in items:
            item.advance(self.stage.name, self.stage.finish)
        rows = [
            {"image_id": item.row["image_id"], "uri": item.row["uri"], "error": item.error}
            if item.error is not None
            else {"uri": item.row["uri"], **item.value}
            for item in items
        ]
        return {"shard": unit["shard"], "items": pickle.dumps(rows, protocol=5)}


@ray.remote(num_cpus=0)
class _Tally:
    """Counts committed images for the display; the files alone decide what is done."""

    def __init__(self) -> None:
        self.done = self.failed = 0

    def add(self, done: int, failed: int) -> None:
        self.done, self.failed = self.done + done, self.failed + failed

    def read(self) -> tuple[int, int]:
        return self.done, self.failed


class _UnitSink(Datasink[None]):
    def __init__(self, shards: Shards, schema: pa.Schema, tally: Any) -> None:
        self.shards, self.schema, self.tally = shards, schema, tally

    def write(self, blocks: Iterable[Any], ctx: Any) -> None:
        for block in blocks:
            unit: Row
            for unit in ray.data.block.BlockAccessor.for_block(block).iter_rows(public_row_format=True):
                rows: list[Row] = pickle.loads(unit["items"])
                self.shards.commit(unit["shard"], self.schema, rows)
                self.tally.add.remote(len(rows), sum(row.get("error") is not None for row in rows))


@dataclass
class MapResult:
    """What a map stage holds after it ran, over all its shards, and how many images this run computed."""

    rows: int
    errors: int
    computed: int = field(default=0)


def run_map(
    stage: MapStage,
    folder: Folder,
    images: dict[int, list[str]],
    shards: int,
    unit_size: int,
    devices: Devices,
    workers: int | None,
) -> MapResult:
    """Run a stage over all images that it has not done yet, and seal every shard.

    Args:
        images: the image ids of each shard.
        unit_size: images that are computed and committed together.
        workers: network actors; None for one per GPU, or per core where there is none.

    Raises:
        RuntimeError: no network could be built, or a sealed stage would not hold every image exactly once.
    """
    result = Shards(folder, shards)
    open_shards = sorted(set(range(shards)) - result.sealed())
    total = sum(len(ids) for ids in images.values())
    tally = _Tally.remote()  # type: ignore[attr-defined]
    left = {shard: result.missing(shard, images.get(shard, [])) for shard in open_shards}
    computed = sum(map(len, left.values()))

    def read() -> Reading:
        done, failed = ray.get(tally.read.remote())
        return Reading(total - computed + done, total, f"{failed} errors" if failed else "")

    if computed:
        with display(stage.name, "images", read):
            _run_units(stage, result, tally, _units(left, unit_size), devices, workers)
            left = {shard: result.missing(shard, images[shard]) for shard, ids in left.items() if ids}
            if any(left.values()):
                _run_units(stage, result, tally, _units(left, 1), devices, workers, alone=True)
                _give_up(stage, result, images, left)
    seal = ray.remote(Shards.seal).options(max_retries=3)
    ray.get([seal.remote(result, shard, stage.schema, images.get(shard, [])) for shard in open_shards])
    rows, errors = result.counts()
    if rows + errors != total:
        raise RuntimeError(f"{stage.name}: {rows} rows and {errors} errors are not {total} images.")
    return MapResult(rows, errors, computed)


def _units(left: dict[int, list[str]], size: int) -> list[Row]:
    return [
        {"shard": shard, "ids": ids[start : start + size]}
        for shard, ids in sorted(left.items())
        for start in range(0, len(ids), size)
    ]


def _run_units(
    stage: MapStage,
    result: Shards,
    tally: Any,
    units: list[Row],
    devices: Devices,
    workers: int | None,
    alone: bool = False,
) -> None:
    actors = min(len(units), devices.network_workers(workers))
    gpu = devices.gpus > 0
    context = ray.data.DataContext.get_current()
    # A unit whose processes died is dropped here and taken up by the second pass.
    context.max_errored_blocks = len(units)
    data = (
        ray.data.from_items(units, override_num_blocks=len(units))
        .map(_Load(stage), num_cpus=1, max_retries=1)
        .map(  # its type knows functions only, not a class that each actor builds once
            _Network,  # type: ignore[arg-type]
            fn_constructor_args=(stage, gpu),
            # Whatever waits in an actor's queue when it dies loses a try too: alone means nobody waits.
            compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=1 if alone else None),
            # Without GPUs an actor claims no core, so that loading and finishing always find one.
            num_gpus=min(1.0, devices.gpus / actors) if gpu else None,
            num_cpus=1 if gpu else 0,
            max_restarts=-1,
            max_task_retries=1,
        )
        .map(_Finish(stage), num_cpus=1, max_retries=1)
    )
    sink = _UnitSink(result, stage.schema, tally)
    try:
        data.write_datasink(sink, ray_remote_args={"num_cpus": 1, "max_retries": 1})
    except ray.exceptions.RayError as error:
        raise RuntimeError(f"{stage.name}: stopped: {reason(error)}") from error


def _give_up(stage: MapStage, result: Shards, images: dict[int, list[str]], left: dict[int, list[str]]) -> None:
    for shard in left:
        lost = result.missing(shard, images[shard])
        if not lost:
            continue
        source = stage.sources[0]
        uris = source.rows.read_table(source.part(shard), columns=["image_id", "uri"], ids=lost).to_pylist()
        error = {
            "stage": stage.name,
            "kind": "worker-died",
            "message": "Every process that worked on this image died: out of memory, or a library crashed.",
        }
        for row in uris:
            result.commit(shard, stage.schema, [{**row, "error": error}])
