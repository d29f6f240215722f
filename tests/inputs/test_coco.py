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


@pytest.mark.parametrize(
    ("images", "file"),
    [
        ("data", "labels.json"),
        ("images", "result.json"),
        ("train", "train/_annotations.coco.json"),
        ("images", "annotations/train.json"),
        ("val", "annotations/instances_val.json"),
        ("", "mine.json"),
    ],
)
def test_folders_of_other_tools(tmp_path: Path, images: str, file: str) -> None:
    write(tmp_path / images, "a.png", "b.png", "c.png", "more.png")
    dump(tmp_path / file, content())
    reading = read(tmp_path, 1)
    assert reading.format == "COCO"
    assert reading.table["tags"].to_pylist() == [["person"], ["dog", "person"], []]
    assert reading.account.left_out.total == 2 and reading.account.seen == 5


def test_the_splits_of_roboflow_are_read_together(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write(tmp_path / split, "a.png", "b.png", "c.png")
        dump(tmp_path / split / "_annotations.coco.json", content(**({"annotations": []} if split == "valid" else {})))
    reading = read(tmp_path, 1)
    assert reading.why == "it holds train/_annotations.coco.json and 1 more, a COCO file"
    assert {row["image_id"]: row["tags"] for row in reading.table.to_pylist()} == {
        "train/a.png": ["person"],
        "train/b.png": ["dog", "person"],
        **{f"{name}.png": [] for name in ("train/c", "valid/a", "valid/b", "valid/c")},
    }
    assert reading.account.left_out.counts == {"holds the tags": 2}


@pytest.mark.parametrize("kind", [str, float, lambda number: f"{number}.0x"])
def test_ids_may_be_text_or_floats(tmp_path: Path, kind: Any) -> None:
    data = content()
    for entry in (*data["images"], *data["categories"]):
        entry["id"] = kind(entry["id"])
    for entry in data["annotations"]:
        if kind is not float:
            entry["image_id"], entry["category_id"] = kind(entry["image_id"]), kind(entry["category_id"])
    write(tmp_path, "a.png", "b.png", "c.png")
    rows = read_folder(dump(tmp_path / "x.json", data), 1).to_pylist()
    assert [row["tags"] for row in rows] == [["person"], ["dog", "person"], []]


@pytest.mark.parametrize("prefix", ["images\\", "C:\\photos\\images\\", "/home/me/photos/", "./"])
def test_paths_of_other_systems(tmp_path: Path, prefix: str) -> None:
    data = content()
    for image in data["images"]:
        image["file_name"] = prefix + image["file_name"]
    write(tmp_path / "images", "a.png", "b.png", "c.png")
    for place in (tmp_path, dump(tmp_path / "x.json", data)):
        reading = read(place, 1)
        assert reading.table["image_id"].to_pylist() == [f"{prefix}{name}.png" for name in "abc"]
        assert reading.table["width"].to_pylist() == [20, 21, 22]
        assert any("listed names differ" in note for note in reading.notes) == (prefix != "./")


def test_images_apart(tmp_path: Path) -> None:
    write(tmp_path / "photos" / "deep", "a.png", "b.png", "c.png", "more.png")
    path = dump(tmp_path / "lists" / "x.json", content())
    reading = read(path, 1, images=tmp_path / "photos")
    assert reading.table.num_rows == 3 and reading.account.left_out.counts == {"not listed in x.json": 1}
    with pytest.raises(UserError, match="or name their folder with --images"):
        read(path, 1)


def test_lvis_says_which_categories_are_absent(tmp_path: Path) -> None:
    url = "http://images.cocodataset.org/val2017/{}.png"
    data = content(
        images=[
            {"id": 7, "coco_url": url.format("b"), "neg_category_ids": [], "not_exhaustive_category_ids": [18]},
            {"id": 3, "coco_url": url.format("a"), "neg_category_ids": [18], "not_exhaustive_category_ids": []},
            {"id": 4, "coco_url": url.format("c"), "neg_category_ids": [1], "not_exhaustive_category_ids": [18]},
        ]
    )
    write(tmp_path / "val2017", "a.png", "b.png", "c.png")
    reading = read(dump(tmp_path / "lvis_v1_val.json", data), 1)
    assert [(r["image_id"], r["tags"], r["tags_unknown"]) for r in reading.table.to_pylist()] == [
        ("val2017/a.png", ["person"], None),
        ("val2017/b.png", ["dog", "person"], None),
        ("val2017/c.png", [], ["dog"]),
    ]
    assert "1 pair of image and tag that nobody verified: taken as unknown" in reading.notes


def test_two_categories_of_one_name(tmp_path: Path) -> None:
    """They are refused if images have both; an unused one, as Roboflow lists it, does not matter."""
    write(tmp_path, "a.png", "b.png")
    content: dict[str, Any] = {
        "images": [{"id": 0, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}],
        "annotations": [{"image_id": 0, "category_id": 1}],
        "categories": [{"id": 0, "name": "dog"}, {"id": 1, "name": "dog"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert read(tmp_path / "a.json", 1).table["tags"].to_pylist() == [["dog"], []]
    content["annotations"].append({"image_id": 1, "category_id": 0})
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="calls two categories dog, 1 and 0: rename one"):
        read(tmp_path / "a.json", 1)


def test_ids_of_images_and_categories_are_kept(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    content = {
        "images": [{"id": 397133, "file_name": "b.png"}, {"id": "x7", "file_name": "a.png"}],
        "annotations": [{"image_id": "x7", "category_id": 18}],
        "categories": [{"id": 18, "name": " dog"}, {"id": 1.0, "name": "person"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    for place in (tmp_path / "a.json", tmp_path):
        found = read(place, 1)
        assert [json.loads(one) for one in found.table["source_id"].to_pylist()] == ["x7", 397133]
        assert found.category_ids == {"dog": 18, "person": 1.0}


def test_files_that_number_their_images_each_in_its_own_way_have_no_ids(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / split, f"{split}.png")
        content = {
            "images": [{"id": 1, "file_name": f"{split}.png"}],
            "annotations": [{"image_id": 1, "category_id": 1}],
            "categories": [{"id": 1, "name": "dog"}],
        }
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(content))
    found = read(tmp_path, 1)
    assert found.table["source_id"].to_pylist() == [None, None] and found.category_ids == {}
