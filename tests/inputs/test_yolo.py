"""YOLO labels as tags, in the layouts of its tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read
from irnet_ray.inputs.listing import NO_TAGS
from tests.inputs.formats import write

BOX, POLYGON = ".5 .5 .2 .2", "0.1 0.1 0.9 0.1 0.5 0.9"
LABELS = {"a": f"0 {BOX}\n1 {BOX}\n0 {BOX}\n", "b": f"1 {POLYGON}\n", "c": "", "d": None}


def yolo(
    place: Path, images: str = "images/{}.jpg", labels: str = "labels/{}.txt", names: str | None = "data.yaml"
) -> Path:
    for stem, text in LABELS.items():
        write(place, images.format(stem))
        if text is not None:
            (place / labels.format(stem)).parent.mkdir(parents=True, exist_ok=True)
            (place / labels.format(stem)).write_text(text)
    if names is not None:
        (place / names).write_text("names: [dog, cat]\n" if names.endswith("yaml") else "dog\ncat\n")
    return place


def rows(reading: Any) -> dict[str, list[str]]:
    return {row["image_id"]: row["tags"] for row in reading.table.to_pylist()}


@pytest.mark.parametrize(
    ("images", "labels", "names"),
    [
        ("images/{}.jpg", "labels/{}.txt", "data.yaml"),
        ("images/train/{}.jpg", "labels/train/{}.txt", "coco128.yaml"),
        ("train/images/{}.jpg", "train/labels/{}.txt", "data.yaml"),
        ("{}.jpg", "{}.txt", "classes.txt"),
        ("obj_train_data/{}.jpg", "obj_train_data/{}.txt", "obj.names"),
        ("train/{}.jpg", "train/{}.txt", "_darknet.labels"),
        ("{}.jpg", "labels/{}.txt", "predefined_classes.txt"),
    ],
)
def test_layouts(tmp_path: Path, images: str, labels: str, names: str) -> None:
    reading = read(yolo(tmp_path, images, labels, names), 1)
    assert reading.format == "YOLO" and reading.why == f"it holds {names} and YOLO labels"
    assert list(rows(reading).values()) == [["dog", "cat"], ["cat"], [], []]
    assert all("images" not in name for name in rows(reading))
    assert reading.notes == [
        f"names of classes from {names}",
        "1 image with an empty label file and 1 image without a label file: taken to show none of the classes",
    ]
    assert reading.account.left_out.counts == {"holds the tags": 4}


@pytest.mark.parametrize("names", ["names: {0: dog, 1: cat}", "path: ../x\ntrain: images\nnames:\n- dog\n- cat\n"])
def test_the_yaml_file_may_be_named(tmp_path: Path, names: str) -> None:
    yolo(tmp_path / "x", names=None)
    (tmp_path / "x" / "d.yaml").write_text(names)
    assert rows(read(tmp_path / "x" / "d.yaml", 1))["a.jpg"] == ["dog", "cat"]
    (tmp_path / "y").mkdir()
    (tmp_path / "y" / "d.yml").write_text("path: ../x\nnames: [dog, cat]\n")
    assert rows(read(tmp_path / "y" / "d.yml", 1))["b.jpg"] == ["cat"]


def test_images_of_a_folder_without_labels_were_not_annotated(tmp_path: Path) -> None:
    write(yolo(tmp_path, "images/train/{}.jpg", "labels/train/{}.txt"), "images/test/e.jpg")
    reading = read(tmp_path, 1)
    assert reading.table.num_rows == 4 and reading.account.left_out.examples[NO_TAGS] == ["images/test/e.jpg"]


def test_images_apart(tmp_path: Path) -> None:
    yolo(tmp_path, "photos/{}.jpg", "boxes/{}.txt", None)
    (tmp_path / "boxes" / "classes.txt").write_text("dog\ncat\n")
    reading = read(tmp_path / "boxes", 1, images=tmp_path / "photos")
    assert rows(reading) == {"a.jpg": ["dog", "cat"], "b.jpg": ["cat"], "c.jpg": [], "d.jpg": []}
    assert reading.account.seen == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.yaml": None}, "YOLO labels without names of classes: add data.yaml"),
        ({"labels/b.txt": f"7 {BOX}\n"}, "b.txt, line 1 holds class 7, and only classes below 2 have names"),
        ({"labels/b.txt": f"0 {BOX}\n\n1 2 3\n"}, "b.txt, line 3 is no YOLO label"),
        ({"labels/z.txt": f"0 {BOX}\n"}, r"no images for 1 file with their tags \(labels/z.txt\)"),
        ({"images/a.png": "x"}, "holds two images of labels/a.txt"),
        ({"classes.txt": "cat\ndog\n"}, "two lists of names that differ"),
        ({"labels/a.txt": "0,.5,.5,.2,.2\n"}, "a.txt, line 1 is no YOLO label"),
        ({"data.yaml": "names: [dog, cat, dog]\n"}, "data.yaml calls two classes dog: rename one of them"),
    ],
)
def test_what_a_person_should_mend(tmp_path: Path, change: dict[str, str | None], message: str) -> None:
    yolo(tmp_path)
    for name, text in change.items():
        (tmp_path / name).unlink() if text is None else (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read(tmp_path, 1)


@pytest.mark.parametrize("names", ["names: [no, on]\n", 'names: {"0": no, "1": on}\n', "names:\n- no\n- on\n"])
def test_names_are_text_even_if_yaml_has_another_meaning_for_them(tmp_path: Path, names: str) -> None:
    yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(names)
    assert rows(read(tmp_path, 1)) == {"a.jpg": ["no", "on"], "b.jpg": ["on"], "c.jpg": [], "d.jpg": []}


def test_captions_beside_images_are_no_labels(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "a.txt").write_text("a dog on a sofa")
    (tmp_path / "b.txt").write_text("two cats")
    (tmp_path / "classes.txt").write_text("dog\n")
    with pytest.raises(UserError, match="has no tags.csv"):
        read(tmp_path, 1)
