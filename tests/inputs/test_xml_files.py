"""VOC annotations without VOC's folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read
from irnet_ray.inputs.listing import NO_TAGS
from tests.inputs.formats import write


def xml(path: Path, *names: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(f"<object><name>{name}</name><bndbox><xmin>1</xmin></bndbox></object>" for name in names)
    path.write_text(f"<?xml version='1.0'?>\n<annotation><filename>else.jpg</filename>{objects}</annotation>")


@pytest.mark.parametrize(
    ("images", "files"),
    [
        ("{}.jpg", "{}.xml"),
        ("images/{}.jpg", "annotations/{}.xml"),
        ("train/{}.jpg", "train/{}.xml"),
        ("images/{}.jpg", "annotations/xmls/{}.xml"),
    ],
)
def test_layouts(tmp_path: Path, images: str, files: str) -> None:
    write(tmp_path, *(images.format(stem) for stem in "abc"))
    xml(tmp_path / files.format("a"), "dog", "cat", "dog")
    xml(tmp_path / files.format("b"))
    reading = read(tmp_path, 1)
    assert (reading.format, reading.why) == ("XML files", "it holds XML annotations of 2 images")
    assert reading.table["tags"].to_pylist() == [["dog", "cat"], []]
    assert reading.table["image_id"].to_pylist() == [images.format("a"), images.format("b")]
    assert reading.notes == ["1 image without objects: they show none of the classes"]
    assert reading.account.left_out.counts == {"holds the tags": 2, NO_TAGS: 1}


def test_images_apart(tmp_path: Path) -> None:
    write(tmp_path / "photos", "a.jpg")
    xml(tmp_path / "voc" / "a.xml", "dog")
    assert read(tmp_path / "voc", 1, images=tmp_path / "photos").table["tags"].to_pylist() == [["dog"]]


def test_what_a_person_should_mend(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    xml(tmp_path / "a.xml", "dog")
    xml(tmp_path / "z.xml", "dog")
    with pytest.raises(UserError, match=r"no images for 1 file with their tags \(z.xml\)"):
        read(tmp_path, 1)
    (tmp_path / "z.xml").write_text("<project/>")  # it belongs to something else
    assert read(tmp_path, 1).table.num_rows == 1
    (tmp_path / "a.xml").write_text("<annotation><object>")
    with pytest.raises(UserError, match="a.xml is not a readable annotation"):
        read(tmp_path, 1)
