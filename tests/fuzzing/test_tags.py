"""Any bytes in a tags file give a table or one sentence."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from irnet_ray import tables
from irnet_ray.algorithms.maps import MAX_TAGS
from irnet_ray.inputs.folder import read
from irnet_ray.inputs.listing import NO_TAGS
from irnet_ray.inputs.tags import read_tags
from tests.bad_images import write_good
from tests.fuzzing.sentences import FUZZ, damaged, outcome, write

GOOD = {"image": ["a.png", "b.png"], "tags": ["cat", "dog;cat"]}


def csv_bytes(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def parquet_bytes(table: pa.Table, **options: object) -> bytes:
    data = io.BytesIO()
    pq.write_table(table, data, **options)
    return data.getvalue()


WHOLE_CSV = csv_bytes([["image", "tags"], *map(list, zip(GOOD["image"], GOOD["tags"], strict=True))])
WHOLE_PARQUET = [
    parquet_bytes(pa.table(GOOD)),
    parquet_bytes(pa.table({**GOOD, "tags": [["cat"], ["dog", "cat"]]}), compression="zstd"),
    parquet_bytes(pa.table(GOOD), use_dictionary=False, compression="none", write_page_checksum=True),
]
NAMES = st.sampled_from(["a.png", "b.png", "images/a.png", "", " ", "..", "/a.png", "a.png/", ".", "images", "\0"])
CELLS = NAMES | st.sampled_from(["cat", "dog;cat", ";", "\n", '"', ","]) | st.text(max_size=6)
HEADERS = st.sampled_from([["image", "tags"], ["tags", " image "], ["image", "tags", "more"], ["image"], []])
TEXTS = st.none() | CELLS.filter(lambda text: text.isprintable())
COLUMNS = st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.string_view()])
TAG_LISTS = st.none() | st.lists(TEXTS, max_size=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fuzz") / "data"
    write_good(place)
    (place / "tags.csv").unlink()
    return place


def check(folder: Path, name: str, data: bytes) -> None:
    """Check that the rows of the file and the table of the folder are valid or refused."""
    for other in ("tags.csv", "tags.parquet"):
        (folder / other).unlink(missing_ok=True)
    path = write(folder / name, data)
    rows = outcome(lambda: read_tags(path).rows)
    if rows is not None:
        assert rows and len({row.image for row in rows}) == len(rows)
        assert all(row.image.strip() and len(row.tags) <= MAX_TAGS and all(row.tags) for row in rows)
    reading = outcome(lambda: read(folder, 2))
    assert reading is None or rows is not None
    if reading is not None:
        left = reading.account.left_out
        assert reading.table.schema == tables.IMAGES and reading.table.num_rows + left.counts[NO_TAGS] == 2
        found = {*reading.table["uri"].to_pylist(), *(str(folder / name) for name in left.examples.get(NO_TAGS, []))}
        assert found == {str(folder / "images" / name) for name in ("a.png", "b.png")}


@FUZZ
@given(data=st.binary(max_size=200), name=st.sampled_from(["tags.csv", "tags.parquet"]))
@example(data=b"PAR1" + bytes(8) + b"PAR1", name="tags.parquet")
@example(data=b"image,tags\n" + b"x" * 200_000, name="tags.csv")
def test_any_bytes(folder: Path, data: bytes, name: str) -> None:
    check(folder, name, data)


@FUZZ
@given(header=HEADERS, rows=st.lists(st.lists(CELLS, max_size=4), max_size=4))
def test_any_csv(folder: Path, header: list[str], rows: list[list[str]]) -> None:
    check(folder, "tags.csv", csv_bytes([header, *rows]))


@FUZZ
@given(data=damaged(WHOLE_CSV))
def test_damaged_csv(folder: Path, data: bytes) -> None:
    check(folder, "tags.csv", data)


@FUZZ
@given(names=st.lists(TEXTS, max_size=3), tags=st.lists(TAG_LISTS, min_size=3, max_size=3), kind=COLUMNS)
def test_any_parquet(
    folder: Path, names: list[str | None], tags: list[list[str | None] | None], kind: pa.DataType
) -> None:
    joined = [None if some is None else ";".join(text or "" for text in some) for some in tags[: len(names)]]
    image = pa.array(names, pa.string()).cast(kind) if kind != pa.string_view() else pa.array(names, kind)
    for column in (pa.array(joined, pa.string()), pa.array(tags[: len(names)], pa.list_(pa.string()))):
        check(folder, "tags.parquet", parquet_bytes(pa.table({"image": image, "tags": column})))


@FUZZ
@given(data=st.sampled_from(WHOLE_PARQUET).flatmap(damaged))
def test_damaged_parquet(folder: Path, data: bytes) -> None:
    check(folder, "tags.parquet", data)
