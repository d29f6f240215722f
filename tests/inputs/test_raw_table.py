"""Tables as people write them become columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.raw_table import header, is_json_table, read_raw


def columns(path: Path) -> dict[str, list[Any]]:
    raw = read_raw(str(path))
    return {name: raw.values(name) for name in raw.columns}


def test_csv_of_pandas_and_of_spreadsheets(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",image,tags\n0,a.jpg,dog\n1,b.jpg,\n")
    assert columns(tmp_path / "a.csv") == {"image": ["a.jpg", "b.jpg"], "tags": ["dog", ""]}
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfimage;tags;;\r\na.jpg;dog;;\r\n")
    assert columns(tmp_path / "a.csv") == {"image": ["a.jpg"], "tags": ["dog"]}
    (tmp_path / "a.tsv").write_text("image\ttags\na.jpg\tdog, cat\n")
    assert columns(tmp_path / "a.tsv") == {"image": ["a.jpg"], "tags": ["dog, cat"]}
    (tmp_path / "a.csv").write_bytes(b"sep=;\r\nimage;tags\r\na.jpg;dog,cat\r\n")
    assert columns(tmp_path / "a.csv") == {"image": ["a.jpg"], "tags": ["dog,cat"]}
    assert read_raw(str(tmp_path / "a.csv")).place(0) == "line 3"


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('[{"image": "a", "tags": ["x"]}, {"image": "b"}]', [("a", ["x"]), ("b", None)]),
        ('[\n  {"image": "a", "tags": ["x"]}\n]', [("a", ["x"])]),
        ('{"image": "a", "tags": "x"}\n{"image": "b", "tags": "y"}\n', [("a", "x"), ("b", "y")]),
        ('{"a.jpg": ["x"], "b.png": []}', [("a.jpg", ["x"]), ("b.png", [])]),
        ('{\n "a.jpg": "x"\n}', [("a.jpg", "x")]),
    ],
)
def test_json_of_any_kind(tmp_path: Path, text: str, rows: list[tuple[str, Any]]) -> None:
    (tmp_path / "a.json").write_text(text)
    found = columns(tmp_path / "a.json")
    assert is_json_table(str(tmp_path / "a.json"))
    assert list(zip(found["image"], found["tags"], strict=True)) == rows


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", '{"images": [], "annotations": []}', '{\n"images": [{"id": 1}]\n}', "7\n{}", "[" * 9999]
)
def test_json_that_is_no_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert not is_json_table(str(tmp_path / "a.json"))


def test_headers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("image;tags\n")
    (tmp_path / "a.jsonl").write_text('{"file_name": "a", "labels": []}\n')
    (tmp_path / "b.jsonl").write_bytes(b"\xff\n")
    pq.write_table(pa.table({"image": ["a"], "label": [1]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"no")
    names = ("a.csv", "a.jsonl", "b.jsonl", "a.parquet", "b.parquet", "none.csv")
    assert [header(str(tmp_path / name)) for name in names] == [
        ["image", "tags"],
        ["file_name", "labels"],
        [],
        ["image", "label"],
        [],
        [],
    ]


def test_parquet_with_images_and_class_labels(tmp_path: Path) -> None:
    struct = pa.array([{"bytes": b"x", "path": "a.jpg"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    features = {"img": {"_type": "Image"}, "label": {"names": ["dog"], "_type": "ClassLabel"}}
    table = pa.table({"img": struct, "label": [0], "raw": [b"x"]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, tmp_path / "a.parquet")
    raw = read_raw(str(tmp_path / "a.parquet"))
    assert (raw.columns, raw.bytes_of, raw.classes) == (["img", "label"], "img.bytes", {"label": ["dog"]})
    assert raw.values("img") == ["a.jpg"]


@pytest.mark.parametrize(
    "metadata", [b"", b"{", b"[]", b'{"info": {"features": []}}', b'{"info": {"features": {"label": 7}}}']
)
def test_metadata_of_others(tmp_path: Path, metadata: bytes) -> None:
    table = pa.table({"image": ["a"], "label": [0]}).replace_schema_metadata({b"huggingface": metadata})
    pq.write_table(table, tmp_path / "a.parquet")
    assert read_raw(str(tmp_path / "a.parquet")).classes == {}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", b"image,tags\n\xff,x\n", "is not UTF-8"),
        ("a.csv", b'image,tags\n"a,x\n', "cannot be read as CSV at line"),
        ("a.csv", b"image,tags\na,b,c\n", "line 2 has 3 values"),
        ("a.csv", b"image,,tags\na,z,x\n", "without a name, number 2"),
        ("a.json", b'[{"a": 1}, 7]', "row 2 holds no object"),
        ("a.json", b'[{"a": 1}', "is not JSON"),
        ("a.jsonl", b'{"a": 1}\n{', "line 2 is not JSON"),
        ("a.parquet", b"PAR1PAR1PAR1", "cannot be read as Parquet"),
        ("none.csv", None, "cannot be read"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message):
        read_raw(str(tmp_path / name))
