"""The sharded result of a stage: units seal to the same part whatever their order, and nothing else is sealed."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards, fingerprint, unit_schema

SCHEMA = pa.schema([pa.field("image_id", pa.string(), nullable=False), pa.field("size", pa.int64(), nullable=False)])
ERROR = {"stage": "seeds", "kind": "unreadable", "message": "no JPEG"}


def good(image_id: str) -> dict[str, Any]:
    return {"image_id": image_id, "uri": f"/{image_id}", "size": len(image_id)}


def failed(image_id: str) -> dict[str, Any]:
    return {"image_id": image_id, "uri": f"/{image_id}", "error": ERROR}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@given(st.dictionaries(st.text(max_size=4), st.integers(), min_size=2, max_size=5), st.randoms())
@settings(max_examples=30)
def test_fingerprints_follow_content_and_not_order(knobs: dict[str, int], random: Any) -> None:
    keys = list(knobs)
    random.shuffle(keys)
    own = fingerprint("seeds", knobs)
    assert fingerprint("seeds", {key: knobs[key] for key in keys}) == own
    assert len(own) == 12 and set(own) <= set("0123456789abcdef")
    changed = {**knobs, keys[0]: knobs[keys[0]] + 1}
    assert len({own, fingerprint("seeds", changed), fingerprint("labels", knobs), fingerprint("seeds", knobs, 1)}) == 4


@st.composite
def commits(draw: st.DrawFn) -> tuple[list[str], set[str], list[list[str]]]:
    """Image ids, which of them fail, and units in the order of their commits, some doubled or overlapping."""
    ids = draw(st.lists(st.text("abc/ö0", min_size=1, max_size=5), min_size=1, max_size=12, unique=True))
    order = draw(st.permutations(ids))
    cuts = sorted(draw(st.sets(st.integers(1, len(ids)), max_size=4)) | {len(ids)})
    units = [list(order[start:end]) for start, end in zip([0, *cuts], cuts, strict=False)]
    again = draw(st.lists(st.sampled_from(units), max_size=3))
    alone = [[image_id] for image_id in draw(st.lists(st.sampled_from(ids), max_size=3))]
    return ids, draw(st.sets(st.sampled_from(ids))), draw(st.permutations(units + again + alone))


@given(commits())
@settings(max_examples=25, deadline=None)
def test_any_split_in_any_order_seals_to_the_same_bytes(case: tuple[list[str], set[str], list[list[str]]]) -> None:
    ids, bad, units = case

    def seal(units: list[list[str]]) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as place:
            shards = Shards(Folder(place), 3)
            for unit in units:
                shards.commit(1, SCHEMA, [failed(i) if i in bad else good(i) for i in unit])
            assert shards.missing(1, ids) == []
            shards.seal(1, SCHEMA, ids)
            assert shards.sealed() == {1}
            assert shards.counts() == (len(ids) - len(bad), len(bad))
            return contents(Path(place))

    assert seal(units) == seal([sorted(ids)])


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    return Shards(Folder(str(tmp_path)), 2)


def test_missing_images_are_those_that_no_unit_holds(shards: Shards) -> None:
    assert shards.missing(0, ["b", "a"]) == ["a", "b"]
    shards.commit(0, SCHEMA, [good("b")])
    shards.commit(0, SCHEMA, [failed("c")])
    assert shards.missing(0, ["a", "b", "c", "d"]) == ["a", "d"]
    assert shards.missing(1, ["b"]) == ["b"]


def test_a_unit_is_named_by_its_images(shards: Shards) -> None:
    shards.commit(0, SCHEMA, [good("a"), good("b")])
    names = shards.units(0).files()
    shards.commit(0, SCHEMA, [failed("b"), good("a")])
    assert shards.units(0).files() == names
    shards.commit(0, SCHEMA, [good("a")])
    assert len(shards.units(0).files()) == 2


def test_rows_and_errors_are_split_and_sorted(shards: Shards) -> None:
    shards.commit(0, SCHEMA, [good("d"), failed("a"), good("b")])
    shards.commit(0, SCHEMA, [failed("c")])
    shards.seal(0, SCHEMA, ["a", "b", "c", "d"])
    rows = shards.rows.read_table("part-00000-of-00002.parquet")
    errors = shards.errors.read_table("part-00000-of-00002.parquet")
    assert rows.to_pylist() == [{"image_id": "b", "size": 1}, {"image_id": "d", "size": 1}]
    assert errors.to_pylist() == [{"image_id": i, "uri": f"/{i}", **ERROR} for i in "ac"]
    assert (rows.schema, errors.schema) == (SCHEMA, tables.ERRORS)
    assert shards.units(0).files() == []


@pytest.mark.parametrize("ids", [["a", "b", "c"], ["a"]])
def test_a_shard_with_another_set_of_images_is_not_sealed(shards: Shards, ids: list[str]) -> None:
    shards.commit(0, SCHEMA, [good("a"), good("b")])
    with pytest.raises(RuntimeError, match=f"holds 2 images, expected {len(ids)}"):
        shards.seal(0, SCHEMA, ids)
    assert shards.sealed() == set()
    assert shards.missing(0, ["a", "b"]) == []


def test_an_interrupted_seal_is_repeated(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    shards.commit(0, SCHEMA, [good("a"), failed("b")])
    write = Folder.write_table

    def die_before_rows(folder: Folder, name: str, table: pa.Table) -> None:
        if folder.location.endswith("rows"):
            raise KeyboardInterrupt
        write(folder, name, table)

    with monkeypatch.context() as broken:
        broken.setattr(Folder, "write_table", die_before_rows)
        with pytest.raises(KeyboardInterrupt):
            shards.seal(0, SCHEMA, ["a", "b"])
    assert shards.sealed() == set()
    shards.seal(0, SCHEMA, ["a", "b"])
    assert (shards.sealed(), shards.counts()) == ({0}, (1, 1))


def test_a_part_among_the_units_is_reported(shards: Shards) -> None:
    shards.commit(0, SCHEMA, [good("a")])
    part = pa.Table.from_pylist([{"image_id": "b", "size": 1}], schema=SCHEMA)
    shards.units(0).write_table("part.parquet", part)
    with pytest.raises(UserError, match=r"-of-00002/part\.parquet does not have the columns of a unit: delete it"):
        shards.seal(0, SCHEMA, ["a", "b"])
    assert shards.sealed() == set()


def test_a_shard_without_images_seals_to_empty_tables(shards: Shards) -> None:
    shards.seal(1, tables.LABELS, [])
    assert shards.rows.read_table(shards.part(1)).schema == tables.LABELS
    assert shards.counts() == (0, 0)


def test_units_hold_failed_images_whatever_the_schema() -> None:
    for schema in (tables.SEEDS, tables.LABELS):
        held = unit_schema(schema)
        assert [field.name for field in held if not field.nullable] == ["image_id"]
        assert {"uri", "error", *schema.names} == set(held.names)
