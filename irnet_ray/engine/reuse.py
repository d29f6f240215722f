"""Rows of an earlier version that stand as they are, committed to a new one: no image is opened, no network runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from irnet_ray.engine.session import raised
from irnet_ray.runs.shards import Shards

UNIT = 256  # rows that are committed together: what a task holds in memory


@dataclass(frozen=True)
class Reused:
    """The sealed results of an earlier version, and the images whose rows are still right."""

    results: dict[str, Shards]  # by stage; sharded as the new ones are
    uris: dict[int, dict[str, str]]  # of each shard: image_id, and where the image lies today

    @property
    def images(self) -> int:
        """How many images are not to be computed again, but for those that failed."""
        return sum(map(len, self.uris.values()))


def reuse_rows(old: Shards, new: Shards, schema: pa.Schema, uris: dict[int, dict[str, str]]) -> int:
    """Commit the rows of these images to a stage that is not sealed yet, a Ray task per shard; returns how many.

    Errors are not taken over: what failed is tried again. Rows that an earlier call committed are not written again.

    Raises:
        UserError: a row cannot be read or written.
        RuntimeError: a task died again and again.
    """
    import ray  # late: who only plans waits for nothing

    task = ray.remote(reuse_shard).options(max_retries=3)
    shards = sorted(uris.keys() - new.sealed())
    try:
        return sum(ray.get([task.remote(old, new, schema, shard, uris[shard]) for shard in shards]))
    except ray.exceptions.RayError as error:
        raise raised("taking rows over", error) from error


def reuse_shard(old: Shards, new: Shards, schema: pa.Schema, shard: int, uris: dict[str, str]) -> int:
    """Commit one shard's rows; returns how many of the images the new stage then holds from the old one."""
    rows: list[dict[str, Any]] = []
    missing, reused = set(new.missing(shard, sorted(uris))), 0
    for row in old.rows.stream_rows(old.part(shard), schema.names):
        image_id = row["image_id"]
        reused += image_id in uris
        if image_id not in missing:
            continue
        rows.append({**row, "uri": uris[image_id]})
        if len(rows) == UNIT:
            new.commit(shard, schema, rows)
            rows = []
    if rows:
        new.commit(shard, schema, rows)
    return reused
