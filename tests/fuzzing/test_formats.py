"""Any bytes in the files of each format give a table or one sentence, and no file vanishes."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from irnet_ray import tables
from irnet_ray.inputs.cells import split_cells
from irnet_ray.inputs.folder import Reading, read
from irnet_ray.inputs.matching import match, nearest
from tests.fuzzing.sentences import FUZZ, damaged, outcome
from tests.fuzzing.test_tags import csv_bytes
from tests.inputs.formats import png
from tests.inputs.test_coco import content
from tests.inputs.test_webdataset import sample, tar

PNG = png()
MARKS = st.sampled_from([";", ",", "|", "/", " ", "[", "]", "'", '"', "\\", "\n", "(", ")", "{", "}", "a", "b", "dog"])
CELL = st.lists(MARKS, max_size=8).map("".join)
NAMES = st.sampled_from(
    ["a.png", "b.png", "images/a.png", "A", "b.jpg", "..\\a.png", "x\\a.png", "/x/a.png", "", "é", "c"]
)
ONES = st.sampled_from(["0", "1", "", "-1", "x", "0.5", "true", "No", "2", "nan", "dog"])
COLUMNS = st.sampled_from(
    [
        "image",
        "ImageID",
        "file_name",
        "id",
        "tags",
        "label",
        "LabelName",
        "Confidence",
        "dog",
        "cat",
        "split",
        "",
        "class",
    ]
)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def check(files: dict[str, bytes], where: str = "", **options: Any) -> Reading | None:
    """Read a folder with two images and these files; the account must balance."""
    with tempfile.TemporaryDirectory() as place:
        for name, data in {"images/a.png": PNG, "images/b.png": PNG, **files}.items():
            path = Path(place) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        reading = outcome(lambda: read(Path(place) / where, 2, **options))
    if reading is not None:
        account = reading.account
        assert reading.table.schema == tables.IMAGES and reading.table.num_rows == account.images
        assert account.seen == account.images + account.left_out.total
        assert all(note.strip() for note in reading.notes)
        ids = reading.table["image_id"].to_pylist()
        assert len(set(ids)) == len(ids)
    return reading


@FUZZ
@given(
    header=st.lists(COLUMNS, max_size=5),
    rows=st.lists(st.lists(NAMES | ONES | CELL, max_size=5), max_size=5),
    name=st.sampled_from(["labels.csv", "tags.csv", "mine.csv", "_classes.csv", "images/metadata.csv"]),
)
@example(header=["image", "dog", "cat"], rows=[["a.png", "1", "0"], ["b", "", "1"]], name="mine.csv")
def test_any_table(header: list[str], rows: list[list[str]], name: str) -> None:
    check({name: csv_bytes([header, *rows])})
    check({name: csv_bytes([header, *rows])}, where=name)


@FUZZ
@given(
    rows=st.lists(st.tuples(NAMES, ONES, ONES), min_size=1, max_size=5),
    header=st.sampled_from([["image", "dog", "cat"], ["ImageID", "LabelName", "Confidence"], ["id", "file", "label"]]),
)
def test_any_one_hot_or_long_table(rows: list[tuple[str, str, str]], header: list[str]) -> None:
    check({"labels.csv": csv_bytes([header, *map(list, rows)])})


@FUZZ
@given(cells=st.lists(CELL, max_size=6), separator=st.none() | st.sampled_from([",", "none", "|", " ", "tab"]))
def test_any_cells(cells: list[str], separator: str | None) -> None:
    found = outcome(lambda: split_cells("t.csv", cells, separator))
    if found is not None:
        assert len(found[0]) == len(cells) and all(isinstance(tag, str) for tags in found[0] for tag in tags)
    check({"tags.csv": csv_bytes([["image", "tags"], *([f"{'ab'[n % 2]}.png", c] for n, c in enumerate(cells))])})


PATHS = st.lists(
    st.sampled_from(["a", "A", "b.png", "a.png", "..", ".", "", "é", "e\u0301", "\0"]), min_size=1, max_size=4
)


@FUZZ
@given(
    listed=st.lists(st.tuples(PATHS, st.sampled_from(["/", "\\", "//"])), max_size=5),
    files=st.sets(PATHS.map("/".join), max_size=5),
)
def test_any_names(listed: Sequence[tuple[list[str], str]], files: set[str]) -> None:
    names = [mark.join(parts) for parts, mark in listed]
    found = match(names, files)
    assert len(found.paths) == len(names) and all(path is None or path in files for path in found.paths)
    assert all(isinstance(nearest(name, files), str) for name in names)


LINES = st.lists(
    st.sampled_from(["0 .5 .5 .2 .2", "1 0 0 1 1 0 1", "9 1 1 1 1", "", "dog", "0", "0 a b c d", "1e9 1 1 1 1"])
)
YAML = st.sampled_from(
    [
        "names: [dog, cat]",
        "names: {0: dog, 5: cat}",
        "names: {-1: dog}",
        "names: dog",
        "names: [[a]]",
        "names: [1, 2]",
        "a: &a [*a]",
        "{",
        "names: [",
        "",
    ]
)


@FUZZ
@given(lines=LINES, names=YAML, more=st.binary(max_size=30))
def test_any_yolo(lines: list[str], names: str, more: bytes) -> None:
    files = {"data.yaml": names.encode(), "labels/a.txt": "\n".join(lines).encode(), "labels/b.txt": more}
    check(files)
    check(files, where="data.yaml")
    check({**files, "data.yaml": more, "classes.txt": b"dog\n\ncat"})


XML = b"<annotation><object><name>dog</name></object><object><name> cat</name></object></annotation>"


@FUZZ
@given(data=damaged(XML), more=st.binary(max_size=60))
def test_any_xml(data: bytes, more: bytes) -> None:
    check({"images/a.xml": data, "images/b.xml": XML})
    check({"annotations/a.xml": data, "annotations/c.xml": more})


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 3)
    | st.floats()
    | st.sampled_from(["a.png", "dog", "", "\ud800", "..", "1"]),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "image", "tags", "label"]), inside, max_size=3)
    ),
    max_leaves=6,
)


@FUZZ
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["image", "file_name", "tags", "label", "id"]), VALUES, max_size=3), max_size=3
    )
)
def test_any_json_table(rows: list[dict[str, Any]]) -> None:
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    for name in ("metadata.jsonl", "labels.json"):
        check({name: lines})
        check({name: lines}, where=name)
    check({"labels.json": json.dumps(rows).encode()})


@FUZZ
@given(
    key=st.sampled_from(["images", "annotations", "categories"]),
    member=st.sampled_from(["id", "file_name", "image_id", "category_id", "name", "neg_category_ids", "coco_url"]),
    value=VALUES,
)
def test_any_coco(key: str, member: str, value: Any) -> None:
    data = content()
    data["images"] = data["images"][:2]
    data[key][0][member] = value
    check({"labels.json": json.dumps(data).encode()})
    check({"labels.json": json.dumps(data).encode()}, where="labels.json")


@FUZZ
@given(metadata=VALUES, label=st.lists(st.integers(-2, 3) | st.none(), min_size=2, max_size=2))
def test_any_metadata_of_hugging_face(metadata: Any, label: list[int | None]) -> None:
    features = {"label": {"_type": "ClassLabel", "names": ["dog", "cat"]}}
    for found in (metadata, {"info": metadata}, {"info": {"features": metadata}}, {"info": {"features": features}}):
        table = pa.table({"image": ["a.png", "b.png"], "label": pa.array(label, pa.int64())})
        data = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(found)}), data)
        check({"labels.parquet": data.getvalue()})


def _zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("cat/a.png", "dog/b.png", "dog/notes.txt"):
            archive.writestr(zipfile.ZipInfo(name), PNG)
    return data.getvalue()


def _tar() -> bytes:
    with tempfile.TemporaryDirectory() as place:
        return tar(Path(place) / "a.tar", [*sample(0), *sample(1), ("x/c.png", PNG)]).read_bytes()


@FUZZ
@given(data=damaged(_zip()))
def test_damaged_zip(data: bytes) -> None:
    check({"a.zip": data}, where="a.zip")


@FUZZ
@given(data=damaged(gzip.compress(_tar(), mtime=0)), plain=damaged(_tar()))
def test_damaged_compressed_tar(data: bytes, plain: bytes) -> None:
    check({"a.tgz": data}, where="a.tgz")
    check({"a.tar.gz": gzip.compress(plain)}, where="a.tar.gz")


@FUZZ
@given(
    data=st.binary(max_size=100),
    name=st.sampled_from(["a.zip", "a.tar", "a.tgz", "a.tsv", "a.json", "a.yaml", "a.tar.xz"]),
)
def test_any_bytes(data: bytes, name: str) -> None:
    check({name: data}, where=name)
    check({name: data})
