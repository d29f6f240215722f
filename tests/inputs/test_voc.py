from pathlib import Path

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read, read_folder
from irnet_ray.inputs.voc import object_names
from tests.inputs.formats import write

BOMB = (
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    + "]><annotation><object><name>&i;</name></object></annotation>"
)


def xml(*objects: str) -> str:
    found = "".join(
        f"<object><name>{name}</name><bndbox><xmin>1</xmin></bndbox><part><name>head</name></part></object>"
        for name in objects
    )
    return f"<annotation><filename>other.jpg</filename>{found}</annotation>"


def devkit(place: Path, **objects: list[str]) -> Path:
    write(place / "JPEGImages", *(f"{name}.jpg" for name in objects))
    (place / "Annotations").mkdir()
    for name, found in objects.items():
        (place / "Annotations" / f"{name}.xml").write_text(xml(*found))
    return place


@pytest.mark.parametrize("where", ["VOCdevkit/VOC2012", "VOCdevkit", "."])
def test_tags_are_the_objects_of_a_devkit(tmp_path: Path, where: str) -> None:
    place = devkit(tmp_path / "VOCdevkit" / "VOC2012", a=["person", "dog", "person"], b=["cat"])
    rows = read_folder(tmp_path / where, 2).to_pylist()
    assert [(row["image_id"], row["tags"]) for row in rows] == [("a.jpg", ["person", "dog"]), ("b.jpg", ["cat"])]
    assert rows[1]["uri"] == str(place / "JPEGImages" / "b.jpg") and rows[1]["width"] == 21


@pytest.mark.parametrize("lines", ["b\n", "b  1\n", "b -1\r\n\r\n"])
def test_a_list_chooses_images(tmp_path: Path, lines: str) -> None:
    devkit(tmp_path / "VOC2012", a=["dog"], b=["cat"])
    chosen = tmp_path / "VOC2012" / "ImageSets" / "Main" / "val.txt"
    chosen.parent.mkdir(parents=True)
    chosen.write_text(lines)
    assert read_folder(chosen, 1)["image_id"].to_pylist() == ["b.jpg"]
    chosen.write_text("b\nc\n")
    with pytest.raises(UserError, match=r"lists 1 image not found in JPEGImages \(c\)"):
        read_folder(chosen, 1)


def test_several_years_are_one_too_many(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        devkit(tmp_path / "VOCdevkit" / year, a=["dog"])
    with pytest.raises(UserError, match=r"several years \(VOC2007, VOC2012\)"):
        read_folder(tmp_path / "VOCdevkit", 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"1 image file .* without a file in Annotations \(a.jpg\)"),
        ("<annotation>", "is not a readable annotation"),
        ("", "is not a readable annotation"),
        (BOMB, "it declares entities"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation/>', "it declares entities"),
    ],
)
def test_annotations_that_a_person_should_mend(tmp_path: Path, text: str | None, message: str) -> None:
    place = devkit(tmp_path, a=["dog"], b=["cat"])
    (place / "Annotations" / "a.xml").unlink()
    if text is not None:
        (place / "Annotations" / "a.xml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_folder(place, 1)


def test_an_annotation_without_objects_is_an_image_of_nothing(tmp_path: Path) -> None:
    reading = read(devkit(tmp_path, a=[], b=["cat"]), 1)
    assert reading.table["tags"].to_pylist() == [[], ["cat"]]
    assert reading.account.left_out.counts == {"holds the tags": 2}


def test_names_in_other_encodings_and_with_entities_of_xml() -> None:
    text = "<annotation><object><name>caf\xe9 &amp; &#65;</name></object></annotation>"
    assert object_names(f'<?xml version="1.0" encoding="latin-1"?>{text}'.encode("latin-1")) == ["caf\xe9 & A"]
