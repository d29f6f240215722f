"""Rows that a new version reuses from an earlier one: unchanged, once each, and never an error."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from irnet_ray.engine import reuse
from irnet_ray.engine.reuse import Reused, reuse_shard
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.tables import Row

SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("image_id", "uri")] + [pa.field("answer", pa.int64())]
)
ERROR = {"stage": "before", "kind": "unreadable", "message": "no JPEG"}


@pytest.fixture
def old(tmp_path: Path) -> Shards:
    """A sealed shard of five rows and one error."""
    shards = Shards(Folder(str(tmp_path / "old")), 1)
    rows: list[Row] = [{"image_id": f"i{n}", "uri": f"/before/i{n}", "answer": n} for n in range(5)]
    shards.commit(0, SCHEMA, [*rows, {"image_id": "failed", "uri": "/before/failed", "error": ERROR}])
    shards.seal(0, SCHEMA, ["failed", *(f"i{n}" for n in range(5))])
    return shards


@pytest.fixture
def new(tmp_path: Path) -> Shards:
    return Shards(Folder(str(tmp_path / "new")), 1)


def committed(shards: Shards) -> dict[str, Row]:
    units = shards.units(0)
    rows = [row for name in units.files() for row in units.read_table(name).to_pylist()]
    assert len({row["image_id"] for row in rows}) == len(rows)
    return {row["image_id"]: row for row in rows}


def test_rows_are_reused_with_today_s_uri_and_errors_are_not(old: Shards, new: Shards) -> None:
    uris = {"i1": "/today/i1", "i3": "/today/i3", "failed": "/today/failed"}
    assert reuse_shard(old, new, SCHEMA, 0, uris) == 2
    assert committed(new) == {
        f"i{n}": {"image_id": f"i{n}", "uri": f"/today/i{n}", "answer": n, "error": None} for n in (1, 3)
    }
    assert new.missing(0, ["failed", "i0", "i1", "i3"]) == ["failed", "i0"]


def test_a_second_call_writes_nothing_and_counts_the_same(old: Shards, new: Shards) -> None:
    uris = {"i1": "/today/i1", "i3": "/today/i3"}
    reuse_shard(old, new, SCHEMA, 0, {"i1": "/today/i1"})  # as far as an interrupted call came
    assert reuse_shard(old, new, SCHEMA, 0, uris) == 2
    before = new.units(0).times()
    assert reuse_shard(old, new, SCHEMA, 0, uris) == 2
    assert new.units(0).times() == before and len(committed(new)) == 2


def test_commits_hold_no_more_rows_than_a_unit(old: Shards, new: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse, "UNIT", 2)
    assert reuse_shard(old, new, SCHEMA, 0, {f"i{n}": f"/today/i{n}" for n in range(5)}) == 5
    units = new.units(0)
    assert sorted(units.read_table(name).num_rows for name in units.files()) == [1, 2, 2]
    assert sorted(committed(new)) == [f"i{n}" for n in range(5)]


def test_images_are_counted_over_all_shards() -> None:
    assert Reused({}, {0: {"a": "", "b": ""}, 3: {"c": ""}}).images == 3
