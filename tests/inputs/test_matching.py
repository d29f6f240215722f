"""Names in tables and files that they mean."""

from __future__ import annotations

import unicodedata

import pytest

from irnet_ray.inputs.matching import match, missing_sentence, nearest


@pytest.mark.parametrize(
    ("name", "path", "kind"),
    [
        ("a", "images/a.jpg", "extension"),
        ("a.png", "images/a.jpg", "extension"),
        ("a.jpg", "images/a", "extension"),
        ("A.JPG", "images/a.jpg", "letter case"),
        ("café.jpg", unicodedata.normalize("NFD", "images/café.jpg"), "Unicode form"),
        (unicodedata.normalize("NFD", "café.jpg"), "café.jpg", "Unicode form"),
        ("images\\a.jpg", "images/a.jpg", "\\ for /"),
        ("C:\\data\\images\\a.jpg", "images/a.jpg", "\\ for / and folder"),
        ("/kaggle/input/x/a.jpg", "photos/a.jpg", "folder"),
        ("old/a.jpg", "photos/a.jpg", "folder"),
        ("a.jpg", "train/deep/a.jpg", "a folder above it"),
        ("a.v1", "a.v1.jpg", "extension"),
    ],
)
def test_the_one_file_that_fits(name: str, path: str, kind: str) -> None:
    found = match([name], [path, "other.jpg"])
    assert found.paths == [path]
    assert found.notes[0].startswith("1 listed name differs") and f"1 by {kind} (" in found.notes[0]


@pytest.mark.parametrize("name", ["a.jpg", "./a.jpg", "images/a.jpg", "a//b.jpg"])
def test_names_that_are_right_need_no_note(name: str) -> None:
    found = match([name], ["images/a.jpg", "a/b.jpg"])
    assert found.paths[0] is not None and found.notes == []


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (["a"], ["a.jpg", "a.png"]),
        (["A.jpg"], ["a.jpg", "a.JPG"]),
        (["a.jpg"], ["x/a.jpg", "y/a.jpg"]),
        (["c/a.jpg"], ["x/a.jpg", "y/a.jpg"]),
        (["a.txt"], ["a.jpg"]),
        (["../a.jpg"], ["b/../a.jpg"]),
        ([""], ["a.jpg"]),
    ],
)
def test_what_fits_several_or_none(names: list[str], files: list[str]) -> None:
    assert match(names, files).paths == [None]


def test_a_file_that_is_listed_is_not_matched_again() -> None:
    assert match(["a.jpg", "A.jpg", "a"], ["a.jpg"]).paths == ["a.jpg", None, None]


def test_folders_that_are_right_for_some_are_right_for_all() -> None:
    files = ["cat/1.jpg", "cat/2.jpg"]
    assert match(["cat/1.jpg", "dog/2.jpg"], files).paths == ["cat/1.jpg", None]
    assert match(["x/cat/1.jpg", "x/cat/2"], files).paths == files
    assert match(["cat/1.jpg", "cat/2.PNG"], files).paths == files


def test_folders_tell_files_of_one_name_apart() -> None:
    files = ["train/a.jpg", "val/a.jpg"]
    assert match(["/data/val/a.jpg", "/data/train/a.jpg"], files).paths == ["val/a.jpg", "train/a.jpg"]


def test_names_below_the_folder_of_the_table() -> None:
    files = ["train/a.jpg", "valid/a.jpg", "valid/images/b.jpg"]
    assert match(["a.jpg", "b"], files, base="valid").paths == ["valid/a.jpg", "valid/images/b.jpg"]


def test_notes_count_each_kind() -> None:
    (note,) = match(["a", "b", "C.jpg"], ["a.jpg", "b.jpg", "c.jpg"]).notes
    assert note == (
        "3 listed names differ from the file's, and exactly one file fits each: "
        "2 by extension (a is a.jpg); 1 by letter case (C.jpg is c.jpg)"
    )


def test_the_nearest_name() -> None:
    assert nearest("img_001.jpg", ["images/img_01.jpg", "x.jpg"]).endswith("img_001.jpg is images/img_01.jpg")
    assert nearest("a", ["a.jpg", "a.png"]) == "; several files fit a: a.jpg, a.png"
    assert nearest("zebra", ["a.jpg"]) == ""
    assert missing_sentence(["q.jpg"], str.upper, {"a.jpg"}) == "(Q.JPG; the nearest name to q.jpg is a.jpg)"
