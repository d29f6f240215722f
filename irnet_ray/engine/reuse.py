"""Reuse rows of an earlier version: they are committed to a new one without opening an image or running a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from irnet_ray.engine.session import raised
from irnet_ray.runs.shards import Shards

UNIT = 256  # rows per commit, which bounds a task's memory


@dataclass(frozen=True)
class Reused:
    """The sealed results of an earlier version, and the images whose rows are still right."""

    results: dict[str, Shards]  # by stage; sharded like the new ones
    uris: dict[int, dict[str, str]]  # shard ▶ image_id ▶ where the image lies today

    @property
    def images(self) -> int:
        """How many images need no computing, including those that failed, which are tried again."""
        return sum(map(len, self.uris.values()))


def reuse_rows(old: Shards, new: Shards, schema: pa.Schema, uris: dict[int, dict[str, str]]) -> int:
    """Commit the rows of these images to a stage that is not sealed yet, with one Ray task per shard.

    Errors are not reused: what failed is tried again. Rows that an earlier call has committed are not written again.

    Returns:
        How many images the new stage then has from the old one.

    Raises:
        UserError: a row cannot be read or written.
        RuntimeError: a task died repeatedly.
    """
    import ray  # late, so that planning does not wait for it

    task = ray.remote(reuse_shard).options(max_retries=3)
    shards = sorted(uris.keys() - new.sealed())
    try:
        return sum(ray.get([task.remote(old, new, schema, shard, uris[shard]) for shard in shards]))
    except ray.exceptions.RayError as error:
        raise raised("reusing rows", error) from error


def reuse_shard(old: Shards, new: Shards, schema: pa.Schema, shard: int, uris: dict[str, str]) -> int:
    """Commit one shard's rows; returns how many of its images the new stage then has from the old one."""
    rows: list[dict[str, Any]] = []
    missing, count = set(new.missing(shard, sorted(uris))), 0
    for row in old.rows.stream_rows(old.part(shard), schema.names):
        image_id = row["image_id"]
        count += image_id in uris
        if image_id not in missing:
            continue
        rows.append({**row, "uri": uris[image_id]})
        if len(rows) == UNIT:
            new.commit(shard, schema, rows)
            rows = []
    if rows:
        new.commit(shard, schema, rows)
    return count
