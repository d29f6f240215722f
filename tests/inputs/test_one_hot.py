"""One-hot tables, with and without cells that say nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read
from irnet_ray.inputs.tags import read_tags
from tests.inputs.formats import write


def table(tmp_path: Path, text: str) -> Path:
    (tmp_path / "tags.csv").write_text(text)
    return tmp_path / "tags.csv"


@pytest.mark.parametrize(
    ("text", "tags", "unknown"),
    [
        ("image,dog,cat\na,1,1\nb,0,0\n", [["dog", "cat"], []], [(), ()]),
        ("filename, dog, cat\na, 1, 0\nb, 0, 1\n", [["dog"], ["cat"]], [(), ()]),
        ("image,dog,cat\na,x,\nb,,X\n", [["dog"], ["cat"]], [(), ()]),
        ("image,dog,cat\na,1,-1\nb,-1,1\n", [["dog"], ["cat"]], [(), ()]),
        ("image,dog,cat\na,1,\nb,0,1\n", [["dog"], ["cat"]], [("cat",), ()]),
        ("image,dog,cat\na,1,-1\nb,0,1\n", [["dog"], ["cat"]], [("cat",), ()]),
        ("image,dog,cat\na,TRUE,FALSE\nb,FALSE,FALSE\n", [["dog"], []], [(), ()]),
        ("image,dog,cat\na,1.0,0.0\nb,0.0,0.0\n", [["dog"], []], [(), ()]),
        ("image;dog;cat\na;1,000;0,000\nb;0,000;0,000\n", [["dog"], []], [(), ()]),
        ("image,dog,cat\na,1,NaN\nb,0,1\n", [["dog"], ["cat"]], [("cat",), ()]),
    ],
)
def test_cells(tmp_path: Path, text: str, tags: list[list[str]], unknown: list[tuple[str, ...]]) -> None:
    found = read_tags(table(tmp_path, text))
    assert [row.tags for row in found.rows] == tags
    assert [row.unknown for row in found.rows] == unknown
    assert found.notes[0] == "the header names the tags, one column each: dog, cat"
    assert (len(found.notes) > 1) == any(unknown)


@pytest.mark.parametrize("value", ["2", "O", "11", "?"])
def test_a_mistake_in_a_cell_does_not_lose_a_class(tmp_path: Path, value: str) -> None:
    with pytest.raises(
        UserError, match=rf"line 3 holds {re.escape(value)} in the column cat, which else holds 0 and 1: correct"
    ):
        read_tags(table(tmp_path, f"image,dog,cat\na,1,0\nb,0,{value}\nc,1,1\nd,0,0\n"))


def test_other_columns_are_not_read(tmp_path: Path) -> None:
    found = read_tags(table(tmp_path, "image,dog,age,sex,fold\na,1,7,F,0\nb,0,31,F,1\nc,1,1,M,0\nd,0,0,F,9\n"))
    assert [row.tags for row in found.rows] == [["dog"], [], ["dog"], []]
    assert found.notes[1] == "columns that are not read: age, sex, fold"


def test_roboflow_has_a_table_in_each_split(tmp_path: Path) -> None:
    for split, tag in (("train", "1, 0"), ("valid", "0, 1"), ("test", "0, 0")):
        write(tmp_path / split, "a.jpg")
        (tmp_path / split / "_classes.csv").write_text(f"filename, dog, big cat\na.jpg, {tag}\n")
    reading = read(tmp_path, 1)
    assert reading.why == "test/_classes.csv, train/_classes.csv, valid/_classes.csv list images and tags"
    assert {row["image_id"]: row["tags"] for row in reading.table.to_pylist()} == {
        "train/a.jpg": ["dog"],
        "valid/a.jpg": ["big cat"],
        "test/a.jpg": [],
    }
    assert reading.account.seen == 6 and reading.account.left_out.counts == {"holds the tags": 3}
