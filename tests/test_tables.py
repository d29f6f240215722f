"""The tables' columns, names and codings."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from irnet_ray import tables
from irnet_ray.masks import decode_cam, decode_png, encode_cam, encode_png

PLAIN = (pa.types.is_string, pa.types.is_binary, pa.types.is_integer, pa.types.is_floating)


def plain(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return plain(kind.value_type)
    if pa.types.is_struct(kind):
        return all(plain(field.type) for field in kind)
    return any(test(kind) for test in PLAIN)


@pytest.mark.parametrize("schema", [tables.IMAGES, tables.SEEDS, tables.LABELS, tables.ABLATION, tables.ERRORS])
def test_columns_are_plain_types_and_start_with_the_id(schema: pa.Schema) -> None:
    assert schema.names[0] == "image_id"
    assert [field.name for field in schema if not plain(field.type)] == []


def test_part_names_sort_in_the_order_of_their_shards() -> None:
    assert tables.part_name(7, 64) == "part-00007-of-00064.parquet"
    names = [tables.part_name(shard, 1000) for shard in range(1000)]
    assert names == sorted(names)


def test_shards_depend_on_the_id_alone_and_are_even() -> None:
    # Written down once: a change would move every image of every run.
    assert [tables.shard_of(name, 64) for name in ("a.jpg", "b/ö.png", "")] == [9, 60, 52]
    counts = np.bincount([tables.shard_of(f"{n}.jpg", 8) for n in range(4000)], minlength=8)
    assert counts.min() > 400 and counts.max() < 600


@given(st.text(), st.integers(1, 100_000))
def test_shards_are_in_range(image_id: str, shards: int) -> None:
    assert 0 <= tables.shard_of(image_id, shards) < shards


def test_names_that_are_not_utf8_have_a_shard() -> None:
    assert 0 <= tables.shard_of(b"\xff.jpg".decode("utf-8", "surrogateescape"), 5) < 5


@given(npst.arrays(np.uint8, npst.array_shapes(min_dims=2, max_dims=2, max_side=40)))
@settings(max_examples=30)
def test_png_is_lossless(index: np.ndarray) -> None:
    assert np.array_equal(decode_png(encode_png(index)), index)
    assert np.array_equal(decode_png(encode_png(index[::-1].T)), index[::-1].T)


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 1, 1), (0, 5, 7)])
def test_cams_come_back_at_half_precision(shape: tuple[int, int, int]) -> None:
    cam = np.random.default_rng(0).random(shape, dtype=np.float32)
    row = encode_cam(cam.transpose(0, 2, 1).copy().transpose(0, 2, 1))
    back = decode_cam(row)
    assert back.shape == shape and back.dtype == np.float32 and len(row["cam"]) == 2 * cam.size
    assert np.abs(back - cam).max(initial=0) <= 2**-11


def test_the_vocabulary_is_every_tag_once_sorted() -> None:
    images = pa.table({"tags": pa.array([["dog", "cat"], ["ant", "dog"], []], pa.list_(pa.string()))})
    assert tables.vocabulary(images) == ["ant", "cat", "dog"]
