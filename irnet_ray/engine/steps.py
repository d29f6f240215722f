"""The steps of a map stage as Ray's processes run them, a unit of images at a time."""

from __future__ import annotations

import pickle  # nosec B403 - between our own steps, through Ray's object store: never of a file
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from irnet_ray.engine.failures import at_most, failure
from irnet_ray.engine.profile import timed
from irnet_ray.errors import UserError, misplaced
from irnet_ray.runs.shards import Shards
from irnet_ray.tables import Row


@dataclass(frozen=True)
class MapStage:
    """One map stage: what to do with an image. Each step sees one image and may raise.

    Processes that load and finish get `load` and `finish` alone: where these need no torch, nor do the processes.

    `sources` are folders of sealed parts, all sharded alike; their columns are joined by `image_id` into the
    row that the steps see. The first must hold every image.
    """

    name: str
    schema: pa.Schema
    sources: tuple[Shards, ...]
    load: Callable[[Row], Any]
    network: Callable[[bool], Callable[[Row, Any], Any]]  # whether a GPU is there ▶ the step; built once an actor.
    # A step that is `BatchStep` too may take some of a unit's images at once.
    finish: Callable[[Row, Any], Row]


@runtime_checkable
class BatchStep(Protocol):
    """What a network step has besides where it takes images together: a GPU is hardly busy with a single one."""

    def batches(self, values: list[Any]) -> list[list[int]]:
        """Which of the loaded images to take together: every place in the list once."""
        ...

    def run_batch(self, rows: list[Row], values: list[Any]) -> list[Any]:
        """What the step makes of each of some images; may raise, and each is then tried by itself."""
        ...


@dataclass
class Item:
    """One image on its way: the row it came from, what the last step made, or why it failed."""

    row: Row
    value: Any = None
    error: Row | None = None

    def advance(self, stage: str, step: Callable[[Row, Any], Any], seconds: float | None = None) -> None:
        """Apply a step, or record its failure; after `seconds` the process ends. A failed image passes untouched.

        Raises UserError where it is not the image that is at fault.
        """
        if self.error is not None:
            return
        try:
            with at_most(seconds):
                self.value = step(self.row, self.value)
        except UserError:  # of a damaged file of the run: no fault of the image
            raise
        except Exception as error:
            kind, message = failure(error)
            self.error = {"stage": stage, "kind": kind, "message": message}
            self.value = None


@dataclass
class Load:
    """The first step: a unit of ids to pickled items."""

    name: str
    sources: tuple[Shards, ...]
    load: Callable[[Row], Any]
    seconds: float | None

    @staticmethod
    def of(stage: MapStage, seconds: float | None) -> Load:
        """The step of a stage."""
        return Load(stage.name, stage.sources, stage.load, seconds)

    def __call__(self, unit: Row) -> Row:
        spent: dict[str, float] = {}
        with timed("load", spent):
            items = [Item(row, error=row.pop("error", None)) for row in self._rows(unit["shard"], list(unit["ids"]))]
            for item in items:
                item.advance(self.name, lambda row, _: self.load(row), self.seconds)
        return {"shard": unit["shard"], "items": pickle.dumps(items, protocol=5), "spent": spent}

    def _rows(self, shard: int, ids: list[str]) -> list[Row]:
        rows: dict[str, Row] = {image_id: {} for image_id in ids}
        for place, source in enumerate(self.sources):
            part = source.part(shard)
            found = source.rows.read_table(part, ids=ids).to_pylist()
            failed = source.errors.read_table(part, ids=ids).to_pylist() if place else []
            if {row["image_id"] for row in (*found, *failed)} != rows.keys():
                raise misplaced(f"{source.rows.location}/{part}")
            for row in found:
                rows[row["image_id"]].update(row)
            # An image that failed in an earlier stage passes through with its first error.
            for row in failed:
                rows[row["image_id"]]["error"] = {key: row[key] for key in ("stage", "kind", "message")}
        return list(rows.values())


class Network:
    """The second step, in an actor that builds its network once."""

    def __init__(self, stage: MapStage, gpu: bool, seconds: float | None) -> None:
        from irnet_ray.engine.cores import use_cores

        use_cores(1)
        self.name, self.seconds = stage.name, seconds
        self.step: Any = stage.network(gpu)

    def __call__(self, unit: Row) -> Row:
        items: list[Item] = pickle.loads(unit["items"])  # nosec B301
        spent = dict(unit["spent"])
        with timed("network", spent):
            if isinstance(self.step, BatchStep):
                self._run_batches(self.step, [item for item in items if item.error is None])
            else:
                self._one_by_one(items)
        return {"shard": unit["shard"], "items": pickle.dumps(items, protocol=5), "spent": spent}

    def _run_batches(self, step: BatchStep, items: list[Item]) -> None:
        for places in step.batches([item.value for item in items]):
            some = [items[place] for place in places]
            if len(some) == 1 or not self._could_run(step, some):
                self._one_by_one(some)

    def _could_run(self, step: BatchStep, items: list[Item]) -> bool:
        """Whether the step could take them, in the time of one: it may fail for one of them, or for their number."""
        try:
            with at_most(self.seconds):
                made = step.run_batch([item.row for item in items], [item.value for item in items])
        except UserError:
            raise
        except Exception:
            return False
        for item, value in zip(items, made, strict=True):
            item.value = value
        return True

    def _one_by_one(self, items: list[Item]) -> None:
        for item in items:
            item.advance(self.name, self.step, self.seconds)


@dataclass
class Finish:
    """The third step: pickled items to the pickled rows of the result."""

    name: str
    finish: Callable[[Row, Any], Row]
    seconds: float | None

    @staticmethod
    def of(stage: MapStage, seconds: float | None) -> Finish:
        """The step of a stage."""
        return Finish(stage.name, stage.finish, seconds)

    def __call__(self, unit: Row) -> Row:
        items: list[Item] = pickle.loads(unit["items"])  # nosec B301
        spent = dict(unit["spent"])
        with timed("finish", spent):
            for item in items:
                item.advance(self.name, self.finish, self.seconds)
        rows = [
            {"image_id": item.row["image_id"], "uri": item.row["uri"], "error": item.error}
            if item.error is not None
            else {"uri": item.row["uri"], **item.value}
            for item in items
        ]
        return {"shard": unit["shard"], "items": pickle.dumps(rows, protocol=5), "spent": spent}


@dataclass
class Commit:
    """The last step: write a unit, and say how many images it holds, or why it cannot be written.

    Said, not raised: what is raised costs a unit, and the next one would be tried.
    """

    shards: Shards
    schema: pa.Schema

    def __call__(self, unit: Row) -> Row:
        rows: list[Row] = pickle.loads(unit["items"])  # nosec B301
        failed, refused = sum(row.get("error") is not None for row in rows), ""
        spent = dict(unit["spent"])
        try:
            with timed("write", spent):
                self.shards.commit(unit["shard"], self.schema, rows)
        except UserError as error:
            refused = str(error)
        return {"done": len(rows), "failed": failed, "refused": refused, "spent": spent}
