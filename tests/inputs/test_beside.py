"""Files with labels find their images."""

from __future__ import annotations

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.beside import one_each, pair, refuse_unpaired, untagged_folders


@pytest.mark.parametrize(
    ("image", "file"),
    [
        ("a.jpg", "a.txt"),
        ("a.jpg", "labels/a.txt"),
        ("images/a.jpg", "labels/a.txt"),
        ("images/train/a.jpg", "labels/train/a.txt"),
        ("train/images/a.jpg", "train/labels/a.txt"),
        ("JPEGImages/a.jpg", "annotations/xmls/a.xml"),
        ("obj_train_data/a.jpg", "obj_train_data/a.txt"),
        ("images/train/a.jpg", "labels/a.txt"),
        ("photos/deep/a.b.jpg", "elsewhere/a.b.txt"),
    ],
)
def test_layouts(image: str, file: str) -> None:
    assert pair([image, "images/other.jpg"], [file, "more.txt"]) == {image: file}


def test_folders_tell_files_of_one_name_apart() -> None:
    images = ["images/train/a.jpg", "images/val/a.jpg", "images/test/a.jpg"]
    files = ["labels/train/a.txt", "labels/val/a.txt"]
    found = pair(images, files)
    assert {image: file for image, file in found.items()} == dict(zip(images, files, strict=False))
    assert untagged_folders(images, found) == {"images/test"}


def test_what_belongs_to_two_images_or_to_none() -> None:
    found = pair(["a.jpg", "a.png"], ["a.txt"])
    with pytest.raises(UserError, match=r"two images of a.txt \(a.jpg, a.png\)"):
        one_each("data", found)
    with pytest.raises(UserError, match=r"data holds no images for 2 files with their tags \(b.txt, c.txt\)"):
        refuse_unpaired("data", ["c.txt", "b.txt"])
    refuse_unpaired("data", [])
