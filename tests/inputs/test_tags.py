"""Tables of tags: how each shape is told from the others, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.tags import Tagged, check_name, read_tags


def csv_file(tmp_path: Path, text: str, encoding: str = "utf-8") -> Path:
    path = tmp_path / "tags.csv"
    path.write_bytes(text.encode(encoding))
    return path


def parquet_file(tmp_path: Path, columns: dict[str, Any], metadata: dict[str, str] | None = None) -> Path:
    path = tmp_path / "tags.parquet"
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata) if metadata else table, path)
    return path


def images(path: Path, separator: str | None = None) -> list[tuple[str, list[str], str]]:
    return [(row.image, row.tags, row.place) for row in read_tags(path, separator).rows]


def test_csv(tmp_path: Path) -> None:
    path = csv_file(tmp_path, '\ufeffnote, tags ,image\nx, dog ;cat;dog;; ,b.jpg\n\ny,"a, b",a é.jpg\n')
    assert images(path) == [("b.jpg", ["dog", "cat"], "line 2"), ("a é.jpg", ["a, b"], "line 4")]
    assert read_tags(path).notes == []


@pytest.mark.parametrize(
    "tags",
    [
        pa.array([["dog", " cat", "dog"], ["cow"]]),
        pa.array([["dog", "cat"], ["cow"]], pa.large_list(pa.large_string())),
        pa.array(["dog;cat;", "cow"]),
        pa.array(["dog;cat", "cow"]).dictionary_encode(),
        pa.array([["dog", "cat", None], ["cow"]]),
    ],
    ids=lambda tags: str(tags.type),
)
def test_parquet(tmp_path: Path, tags: pa.Array) -> None:
    path = parquet_file(tmp_path, {"image": ["b.jpg", "a.jpg"], "tags": tags, "more": [1, 2]})
    assert images(path) == [("b.jpg", ["dog", "cat"], "row 1"), ("a.jpg", ["cow"], "row 2")]


@pytest.mark.parametrize(
    "header",
    [
        "image,tags",
        "Filename,Label",
        "file_name,classes",
        "File Path,CATEGORY",
        "ImageID,LabelName",
        "id,breed",
        "img,x",
    ],
)
def test_columns_as_people_name_them(tmp_path: Path, header: str) -> None:
    assert images(csv_file(tmp_path, f"{header}\na.jpg,dog\nb.jpg,\n")) == [
        ("a.jpg", ["dog"], "line 2"),
        ("b.jpg", [], "line 3"),
    ]


@pytest.mark.parametrize("mark", [";", "\t", ","])
@pytest.mark.parametrize("start", ["", "\ufeff", "sep={}\n"])
def test_delimiters_of_spreadsheets(tmp_path: Path, mark: str, start: str) -> None:
    text = start.format(mark) + mark.join(["image", "tags"]) + "\r\n" + mark.join(["a.jpg", '"dog|cat"']) + "\r\n"
    rows = read_tags(csv_file(tmp_path, text + mark.join(["b.jpg", "dog"]) + "\r\n" + mark.join(["c.jpg", "cat"]))).rows
    assert [row.tags for row in rows] == [["dog", "cat"], ["dog"], ["cat"]]


def test_rows_of_one_image_are_put_together(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "id,image,label\n1,a.jpg,dog\n2,b.jpg,cow\n3,a.jpg,cat\n4,a.jpg,dog\n")
    table = read_tags(path)
    assert images(path) == [("a.jpg", ["dog", "cat"], "line 2"), ("b.jpg", ["cow"], "line 3")]
    assert table.seen == 4 and table.notes[-1] == "1 image on several rows, which are put together"


@pytest.mark.parametrize(
    ("columns", "tags"),
    [
        ({"label": [1, 0, -1]}, [["cat"], ["dog"], []]),
        ({"labels": [[0, 1], [], [1]]}, [["dog", "cat"], [], ["cat"]]),
        ({"objects": [{"bbox": [[1.0]], "category": [1]}, {"bbox": [], "category": []}, None]}, [["cat"], [], []]),
    ],
)
def test_class_labels_of_hugging_face(tmp_path: Path, columns: dict[str, Any], tags: list[list[str]]) -> None:
    label = {"names": ["dog", "cat"], "_type": "ClassLabel"}
    feature = {"label": label, "labels": {"feature": label, "_type": "Sequence"}, "objects": {"category": [label]}}
    features = {name: feature[name] for name in columns}
    path = parquet_file(
        tmp_path,
        {"image": ["a.jpg", "b.jpg", "c.jpg"], **columns},
        {"huggingface": json.dumps({"info": {"features": features}})},
    )
    rows = read_tags(path).rows
    assert [row.tags for row in rows] == tags
    assert [row.is_tagged for row in rows] == [True, True, columns.get("label", [0, 0, 0])[2] != -1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "one column image .* and has none"),
        ("image,width\na.jpg,7\n", r"one column tags .*, and has image, width"),
        ("image,tags,tags\na.jpg,cat,dog\n", "one column tags"),
        ("image,Tags,tags\na.jpg,cat,dog\n", "one column Tags, and has Tags, tags"),
        ("image,tags\n", "lists no images"),
        ("image,tags\na.jpg,cat\nb.jpg,dog,cow\n", "line 3 has 3 values where the header has 2"),
        ("image,tags\na.jpg\n", "line 2 has 1 values"),
        ("image,tags\n,cat\n", "line 2 names no image"),
        ('image,tags\na.jpg,"cat\n', "cannot be read as CSV"),
        ("image,tags,\na.jpg,cat,dog\n", "values in a column without a name, number 3"),
        ("image,label\na.jpg,1\nb.jpg,0\n", "only 0 and 1 in the column label"),
        ("image,dog,cat\na.jpg,1,0\na.jpg,0,1\n", "lists a.jpg twice, on line 2 and line 3"),
        ("image,dog,cat\na.jpg,0.3,0.7\n", "must have one column tags"),
        ("image,tags\na.jpg," + ";".join(map(str, range(255))) + "\n", "255 tags: at most 254"),
    ],
)
def test_bad_csv_says_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    path = csv_file(tmp_path, text)
    with pytest.raises(UserError, match=message) as caught:
        read_tags(path)
    assert str(path) in str(caught.value)


def test_254_tags_are_welcome(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "image,tags\na.jpg," + ";".join(map(str, range(254))) + "\n")
    assert len(read_tags(path).rows[0].tags) == 254


def test_bad_encoding(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not UTF-8"):
        read_tags(csv_file(tmp_path, "image,tags\né.jpg,cat\n", "latin-1"))


def test_bad_parquet(tmp_path: Path) -> None:
    (tmp_path / "tags.parquet").write_bytes(b"image,tags\n")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read_tags(tmp_path / "tags.parquet")
    with pytest.raises(UserError, match="one column tags"):
        read_tags(parquet_file(tmp_path, {"image": ["a.jpg"]}))
    with pytest.raises(UserError, match="row 1 names no image"):
        read_tags(parquet_file(tmp_path, {"image": pa.array([None], pa.string()), "tags": ["cat"]}))
    with pytest.raises(UserError, match=r"row 1 holds no text in tags \(date\)"):
        read_tags(parquet_file(tmp_path, {"image": ["a.jpg"], "tags": pa.array([1], pa.date32())}))


def test_numbers_are_names_and_said(tmp_path: Path) -> None:
    table = read_tags(parquet_file(tmp_path, {"image": [7.0, 8.0], "tags": [[1], [20]]}))
    assert table.rows[0] == Tagged("7", ["1"], "row 1") and table.rows[1].tags == ["20"]
    assert table.notes == ["the tags in tags are numbers: no names of classes were found"]


@pytest.mark.parametrize("name", ["/etc/a.jpg", "x/../../a.jpg", "a\0.jpg"])
def test_names_that_lead_out_of_the_folder(name: str) -> None:
    with pytest.raises(UserError, match="paths below the folder"):
        check_name("tags.csv", "line 2", name)
