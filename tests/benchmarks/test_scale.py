"""The benchmark of scale with few rows: a plan accepts its table, and half of it counts as done."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import scale
from irnet_ray import tables


def test_generated_rows_are_an_images_table_in_order() -> None:
    table = scale.images_table(500, tags=7, shards=8)
    assert table.schema == tables.IMAGES
    ids = table["image_id"].to_pylist()
    assert ids == sorted(set(ids)) and len(ids) == 500
    assert table["shard"].to_pylist() == [tables.shard_of(name, 8) for name in ids]
    counts = {len(tags) for tags in table["tags"].to_pylist()}
    assert counts <= {1, 2, 3} and 1 in counts and 2 in counts
    assert all(tags == sorted(set(tags)) for tags in table["tags"].to_pylist())


def test_a_plan_with_every_second_unit_done_has_about_half_left(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    figures = scale.plan(tmp_path, images=2000, shards=8)
    done, _, total = figures["done before"].partition(" of ")
    assert int(total.split()[0].replace(",", "")) == 2000
    assert 1000 <= int(done.replace(",", "")) <= 1128  # each of 8 shards may have half a unit more than half
