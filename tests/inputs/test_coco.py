import json
from pathlib import Path
from typing import Any

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read, read_folder
from tests.inputs.formats import write


def content(**changes: Any) -> dict[str, Any]:
    """Two images, three annotations, and an image without any."""
    box = {"bbox": [1, 2, 3, 4], "segmentation": [[0, 0, 9, 0, 9, 9]]}
    return {
        "info": {"year": 2017},
        "images": [{"id": 7, "file_name": "b.png"}, {"id": 3, "file_name": "a.png"}, {"id": 4, "file_name": "c.png"}],
        "annotations": [
            {"image_id": 7, "category_id": 18, **box},
            {"image_id": 7, "category_id": 1, "iscrowd": 1, "segmentation": {"counts": [1, 2], "size": [1, 3]}},
            {"image_id": 7, "category_id": 18, **box},
            {"image_id": 3, "category_id": 1, **box},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        **changes,
    }


def dump(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize("images", ["val2017", "images/val2017", "images", "annotations/images", "."])
def test_categories_are_tags(tmp_path: Path, images: str) -> None:
    write(tmp_path / images, "a.png", "b.png", "c.png", "more.png")
    path = dump(tmp_path / "annotations" / "instances_val2017.json", content())
    reading = read(path, 2)
    rows = reading.table.to_pylist()
    assert [(row["image_id"], row["tags"]) for row in rows] == [
        ("a.png", ["person"]),
        ("b.png", ["dog", "person"]),
        ("c.png", []),
    ]
    assert Path(rows[0]["uri"]).resolve() == (tmp_path / images / "a.png").resolve()
    assert reading.notes == ["1 image without annotations: they show none of the classes"]
    assert reading.account.left_out.counts["not listed in instances_val2017.json"] == 1


def test_a_folder_with_annotations_asks_for_one_of_its_files(tmp_path: Path) -> None:
    write(tmp_path, "train2017/a.png", "val2017/b.png")
    for split in ("train", "val"):
        dump(tmp_path / "annotations" / f"instances_{split}2017.json", content())
    with pytest.raises(UserError, match=r"instances_train2017.json, annotations/instances_val2017.json\): name one"):
        read_folder(tmp_path, 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1], "must hold the lists"),
        (content(images=None), "must hold the lists"),
        (content(annotations=[]), "no image with annotations"),
        (content(images=[{"id": 7, "file_name": "../b.png"}]), "image 1 names '../b.png'"),
        (content(images=[{"id": [7], "file_name": "b.png"}]), "without a proper id"),
        (content(images=[{"id": 7}]), "without a proper file_name"),
        (content(images=[{"id": 7, "file_name": "a.png"}] * 2), "share an id or a file name"),
        (content(categories=[{"id": 1, "name": "person"}]), "image 7 and category 18"),
        (content(images=[{"id": 7, "file_name": "b.png"}]), "image 3 and category 1"),
        (content(categories=[7]), "without a proper id"),
    ],
)
def test_what_is_no_instances_file(tmp_path: Path, data: Any, message: str) -> None:
    write(tmp_path, "a.png", "b.png", "c.png")
    path = dump(tmp_path / "instances.json", data)
    with pytest.raises(UserError, match=message) as caught:
        read_folder(path, 1)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")])
def test_what_is_no_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "instances.json").write_text(text)
    with pytest.raises(UserError, match="is not JSON"):
        read_folder(tmp_path / "instances.json", 1)


def test_images_that_are_not_there(tmp_path: Path) -> None:
    path = dump(tmp_path / "instances.json", content())
    with pytest.raises(
        UserError, match=r"lists 3 images not found in .* \(b.png, a.png, c.png\): add the files, take them out"
    ):
        read_folder(path, 1)
    write(tmp_path, "images/a.png")
    with pytest.raises(
        UserError, match=r"lists 2 images not found in .*images \(b.png, c.png; the nearest name to b.png is a.png\)"
    ):
        read_folder(path, 1)
