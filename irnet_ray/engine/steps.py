"""The steps of a map stage, as Ray's processes run them on one unit of images at a time."""

from __future__ import annotations

import contextlib
import pickle  # nosec B403 - between our own steps, through Ray's object store; never from a file
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from irnet_ray.engine.failures import at_most, failure
from irnet_ray.engine.profile import timed
from irnet_ray.errors import UserError, misplaced
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.tables import Row

STARTED = "started.json"  # in a stage's folder once the first process has built its network; the display waits for it


@dataclass(frozen=True)
class MapStage:
    """One map stage: what to do with an image. Each step sees one image and may raise.

    Processes that load and finish receive only `load` and `finish`. They import torch only if these do.

    `sources` are results of earlier stages, all sharded alike. Their columns are joined by `image_id` into the row that
    the steps see. The first source must hold every image.
    """

    name: str
    schema: pa.Schema
    sources: tuple[Shards, ...]
    load: Callable[[Row], Any]
    network: Callable[[bool], Callable[[Row, Any], Any]]  # on a GPU? ▶ the step, maybe a `BatchStep`; once per actor
    finish: Callable[[Row, Any], Row]
    unit: str = "images"  # what a row is, for people: prototypes are of tags


@runtime_checkable
class BatchStep(Protocol):
    """Optional batching interface of a network step: a single image hardly keeps a GPU busy."""

    def batches(self, values: list[Any]) -> list[list[int]]:
        """Group the loaded images into batches: positions in `values`, each of them once."""
        ...

    def run_batch(self, rows: list[Row], values: list[Any]) -> list[Any]:
        """The step's results for the images of one batch. May raise; each image is then tried by itself."""
        ...


@dataclass
class Item:
    """One image between two steps: its row, what the last step returned, or why it failed."""

    row: Row
    value: Any = None
    error: Row | None = None

    def advance(self, stage: str, step: Callable[[Row, Any], Any], seconds: float | None = None) -> None:
        """Apply a step, or record its failure. After `seconds` the process ends. A failed image passes unchanged.

        Raises:
            UserError: a file of the run is damaged, which is not the image's fault.
        """
        if self.error is not None:
            return
        try:
            with at_most(seconds):
                self.value = step(self.row, self.value)
        except UserError:
            raise
        except Exception as error:
            kind, message = failure(error)
            self.error = {"stage": stage, "kind": kind, "message": message}
            self.value = None


@dataclass
class Load:
    """The first step: from a unit of image ids to pickled items."""

    name: str
    sources: tuple[Shards, ...]
    load: Callable[[Row], Any]
    seconds: float | None

    @staticmethod
    def of(stage: MapStage, seconds: float | None) -> Load:
        """The loading step of a stage."""
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
            # An image that failed in an earlier stage keeps that error.
            for row in failed:
                rows[row["image_id"]]["error"] = {key: row[key] for key in ("stage", "kind", "message")}
        return list(rows.values())


class Network:
    """The second step, in an actor that builds its network once."""

    def __init__(self, stage: MapStage, gpu: bool, seconds: float | None, folder: Folder | None = None) -> None:
        """Args: seconds: time limit of a step; folder: of the stage, where `STARTED` tells the driver's display."""
        from irnet_ray.engine.cores import use_cores

        use_cores(1)
        self.name, self.seconds = stage.name, seconds
        self.step: Any = stage.network(gpu)
        if folder is not None:
            with contextlib.suppress(UserError):  # a commit will say so
                folder.write_json(STARTED, {})

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
        for positions in step.batches([item.value for item in items]):
            batch = [items[position] for position in positions]
            if len(batch) == 1 or not self._run_batch(step, batch):
                self._one_by_one(batch)

    def _run_batch(self, step: BatchStep, items: list[Item]) -> bool:
        """Whether the batch succeeded, within the time limit of one image. One image or the batch's size may fail it.

        A hang would otherwise hold up a GPU for as many time limits as the batch has images.
        """
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
    """The third step: from pickled items to pickled rows of the result."""

    name: str
    finish: Callable[[Row, Any], Row]
    seconds: float | None

    @staticmethod
    def of(stage: MapStage, seconds: float | None) -> Finish:
        """The finishing step of a stage."""
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
    """The last step: write a unit, and return how many images it holds, or why it cannot be written.

    That reason is returned, not raised: Ray Data would drop the unit and go on with the next one.
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
