"""The tables' columns, and the names and shards of their parts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irnet_ray import tables

PLAIN = (pa.types.is_string, pa.types.is_binary, pa.types.is_integer, pa.types.is_floating)


def plain(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return plain(kind.value_type)
    if pa.types.is_struct(kind):
        return all(plain(field.type) for field in kind)
    return any(test(kind) for test in PLAIN)


SCHEMAS = [value for value in vars(tables).values() if isinstance(value, pa.Schema)]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_columns_are_plain_types_and_start_with_the_id(schema: pa.Schema) -> None:
    assert schema.names[0] == "image_id"
    assert [field.name for field in schema if not plain(field.type)] == []


def test_part_names_sort_in_the_order_of_their_shards() -> None:
    assert tables.part_name(7, 64) == "part-00007-of-00064.parquet"
    names = [tables.part_name(shard, 1000) for shard in range(1000)]
    assert names == sorted(names)


def test_shards_depend_on_the_id_alone_and_are_even() -> None:
    # Pinned, because a change would move every image of every run.
    assert [tables.shard_of(name, 64) for name in ("a.jpg", "b/ö.png", "")] == [9, 60, 52]
    counts = np.bincount([tables.shard_of(f"{n}.jpg", 8) for n in range(4000)], minlength=8)
    assert counts.min() > 400 and counts.max() < 600


@given(st.text(), st.integers(1, 100_000))
def test_shards_are_in_range(image_id: str, shards: int) -> None:
    assert 0 <= tables.shard_of(image_id, shards) < shards


def test_names_that_are_not_utf8_have_a_shard() -> None:
    assert 0 <= tables.shard_of(b"\xff.jpg".decode("utf-8", "surrogateescape"), 5) < 5


def test_fractions_are_even_and_differ_by_purpose_and_from_shards() -> None:
    names = [f"{number}.jpg" for number in range(4000)]
    one, other = ([tables.fraction(name, purpose) for name in names] for purpose in ("validation", "other"))
    assert min(one) >= 0 and max(one) < 1
    assert np.histogram(one, 8, (0, 1))[0].min() > 400
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
    assert abs(np.corrcoef(one, [tables.shard_of(name, 8) for name in names])[0, 1]) < 0.1


def test_the_vocabulary_is_every_tag_once_sorted() -> None:
    images = pa.table({"tags": pa.array([["dog", "cat"], ["ant", "dog"], []], pa.list_(pa.string()))})
    assert tables.vocabulary(images) == ["ant", "cat", "dog"]
