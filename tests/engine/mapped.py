"""The toy map stage on its own data set, and what its runs leave behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray

from irnet_ray import tables
from irnet_ray.engine.mapping import MapResult, run_map
from irnet_ray.engine.session import Devices
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from tests.engine import toy_mapping

UPSTREAM_ERROR = {"stage": "before", "kind": "unreadable", "message": "no JPEG"}
UPSTREAM = pa.schema([pa.field("image_id", pa.string(), nullable=False), pa.field("number", pa.int64())])


class Ran:
    """The toy stage over some images, in `count` shards; those named `upstream-failed` have an error already."""

    first: MapResult
    early: list[str]

    def __init__(self, folder: Path, devices: Devices, ids: list[str], count: int, seconds: float = 600.0) -> None:
        ray.cloudpickle.register_pickle_by_value(toy_mapping)
        self.log, self.count, self.seconds, self.unit = folder / "log", count, seconds, 4
        self.stage_unit = "images"
        self.log.mkdir()
        self.ids: dict[int, list[str]] = {}
        for image_id in ids:
            self.ids.setdefault(tables.shard_of(image_id, count), []).append(image_id)
        self.images = Shards(Folder(str(folder / "images")), count)
        self.upstream = Shards(Folder(str(folder / "upstream")), count)
        self.result = Shards(Folder(str(folder / "toy")), count)
        self.devices = devices
        for shard in range(count):
            self._write_sources(shard)

    def afresh(self, folder: Path) -> Ran:
        """The same images with another result folder, and nothing done."""
        again = Ran.__new__(Ran)
        again.__dict__ |= self.__dict__ | {"result": Shards(Folder(str(folder / "toy")), self.count)}
        return again

    def commit_early(self, image_id: str) -> None:
        """Commit a unit of two images, this one and the next good one of its shard, as an earlier run would."""
        shard, ids = next((shard, ids) for shard, ids in self.ids.items() if image_id in ids)
        self.early = [i for i in ids if i.endswith("good")][:2]
        rows = [{"image_id": i, "uri": f"/{i}", "trail": "done before", "upstream": -1} for i in self.early]
        self.result.commit(shard, toy_mapping.SCHEMA, rows)

    def _write_sources(self, shard: int) -> None:
        ids = self.ids.get(shard, [])
        rows = [
            {"image_id": i, "uri": f"/{i}", "tags": ["t"], "width": 1, "height": 1, "content": "", "shard": shard}
            for i in ids
        ]
        self.images.rows.write_table(self.images.part(shard), pa.Table.from_pylist(rows, tables.IMAGES))
        fine = [{"image_id": i, "number": len(i)} for i in ids if not i.endswith("upstream-failed")]
        failed = [{"image_id": i, "uri": f"/{i}", **UPSTREAM_ERROR} for i in ids if i.endswith("upstream-failed")]
        self.upstream.rows.write_table(self.upstream.part(shard), pa.Table.from_pylist(fine, UPSTREAM))
        self.upstream.errors.write_table(self.upstream.part(shard), pa.Table.from_pylist(failed, tables.ERRORS))

    def run(self) -> MapResult:
        stage = replace(toy_mapping.stage(self.log, self.images, self.upstream), unit=self.stage_unit)
        # One actor, so that images wait behind the one that kills it.
        return run_map(
            stage,
            self.result.folder,
            self.ids,
            self.count,
            self.unit,
            self.devices,
            workers=1,
            image_seconds=self.seconds,
        )

    def table(self, kind: str) -> dict[str, dict[str, Any]]:
        folder = getattr(self.result, kind)
        rows = [row for name in folder.files() for row in folder.read_table(name).to_pylist()]
        assert len({row["image_id"] for row in rows}) == len(rows)
        return {row["image_id"]: row for row in rows}

    def calls(self, step: str, image_id: str) -> int:
        path = self.log / f"{step}-{image_id}"
        return len(path.read_text().splitlines()) if path.exists() else 0
