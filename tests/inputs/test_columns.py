"""Which columns name images and tags."""

from __future__ import annotations

from typing import Any

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.columns import Columns, find, fits, state


def found(strict: bool = False, **columns: list[Any]) -> Columns:
    return find("t.csv", list(columns), columns.__getitem__, {}, strict=strict)


@pytest.mark.parametrize(
    ("columns", "meaning"),
    [
        ({"image": ["a"], "tags": ["x"]}, Columns("image", None, "tags")),
        ({"id": ["1"], "file_name": ["a"], "Label": ["x"]}, Columns("file_name", "id", "Label")),
        (
            {"ImageID": ["1"], "LabelName": ["x"], "Confidence": ["1"]},
            Columns("ImageID", None, "LabelName", [], "Confidence"),
        ),
        ({"filename": ["a"], "dog": ["0"], "cat": ["1"]}, Columns("filename", None, None, ["dog", "cat"])),
        ({"image": ["a"], "dog": [True], "age": [7]}, Columns("image", None, None, ["dog"], None, ["age"])),
        (
            {"image": ["a"], "dog": ["x"], "cat": [""], "fold": ["1"]},
            Columns("image", None, None, ["dog"], None, ["cat", "fold"]),
        ),
        ({"image": ["a"], "tags": ["x"], "is_train": ["1"]}, Columns("image", None, "tags", [], None, ["is_train"])),
        (
            {"image": ["a"], "class": ["3"], "class_name": ["x"]},
            Columns("image", None, "class_name", [], None, ["class"]),
        ),
        ({"filename": ["a"], "class": ["x"], "xmin": ["0"]}, Columns("filename", None, "class", [], None, ["xmin"])),
        (
            {"Image Index": ["a"], "Finding Labels": ["x"], "age": ["7"]},
            Columns("Image Index", None, "Finding Labels", [], None, ["age"]),
        ),
        ({"name": ["a.jpg"], "dog": ["1"], "cat": ["0"]}, Columns("name", None, None, ["dog", "cat"])),
        ({"file": ["a"], "region_id": ["0"], "dog": ["1"]}, Columns("file", None, None, ["dog"], None, ["region_id"])),
        ({"id": ["a"], "breed": ["pug"]}, Columns("id", None, "breed")),
        ({"id": ["a"], "has_cactus": [1]}, Columns("id", None, None, ["has_cactus"])),
    ],
)
def test_what_columns_mean(columns: dict[str, list[Any]], meaning: Columns) -> None:
    assert found(**columns) == meaning


def test_an_unknown_name_is_taken_for_tags_only_if_asked() -> None:
    columns: dict[str, list[Any]] = {"path": ["a.jpg"], "colour": ["red"]}
    assert found(**columns).tags == "colour"
    with pytest.raises(UserError, match="must have one column tags"):
        found(strict=True, **columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tags": ["x"]}, "must have one column image .*, and has tags"),
        ({"image": ["a"], "x": ["p"], "y": ["q"]}, "must have one column tags"),
        ({"image": ["a"], "label": ["0"], "width": ["1"]}, None),
        ({"image": ["a", "b"], "label": ["0", "1"]}, "only 0 and 1 in the column label"),
    ],
)
def test_what_cannot_be_told(columns: dict[str, list[Any]], message: str | None) -> None:
    if message is None:
        assert found(**columns).tags == "label"
        return
    with pytest.raises(UserError, match=message):
        found(**columns)


def test_names_alone() -> None:
    assert fits(["File Name", "CLASS"]) and not fits(["file", "sha256"]) and not fits(["tags"])


def test_states_of_a_cell() -> None:
    assert [state(value) for value in (1, "1.0", True, " X ", "yes")] == [True] * 5
    assert [state(value) for value in (0, "0.0", False, "no")] == [False] * 4
    assert state("-1") == "unsure" and state("") is None and state(None) is None
    with pytest.raises(ValueError):
        state("0.3")
