"""What people bring, a small example of each kind, and what they get: the images with their tags, or a sentence.

No example may lose a file: files seen are images or left out with a reason.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from irnet_ray.commands.inspect import inspect
from irnet_ray.errors import UserError
from irnet_ray.inputs.decode import decode_rgb
from irnet_ray.storage.files import walk
from tests.inputs.formats import png, write

FOUR = ["images/a.jpg", "images/b.jpg", "images/c.jpg", "images/d.jpg"]


@dataclass(frozen=True)
class Case:
    """An input, and what its owner expects."""

    make: Callable[[Path], Path]
    tags: dict[str, list[str]] | None = None  # by image; None if it is refused
    format: str = "tags file"
    says: str = ""  # part of a note or of the refusal
    left_out: int = 1
    stops: tuple[str, ...] = ()


def table(text: str, name: str = "tags.csv", images: list[str] | None = None) -> Callable[[Path], Path]:
    """Images with a table beside their folder."""

    def make(folder: Path) -> Path:
        write(folder, *(FOUR if images is None else images))
        (folder / name).write_text(text, encoding="utf-8")
        return folder

    return make


def classes(folder: Path) -> Path:
    write(folder, "dog/1.jpg", "cat/1.jpg", "cover.jpg")
    return folder


def extensions(folder: Path) -> Path:
    """Images with names that image files seldom have, or with none."""
    names = {"dog/1.jpg": "JPEG", "dog/2.jfif": "JPEG", "cat/1.jpe": "JPEG", "cat/2.avif": "AVIF", "cat/3": "PNG"}
    for name, kind in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10), (len(name), 90, 7)).save(folder / name, kind)
    (folder / "dog/readme").write_text("no image")
    return folder


def masks(folder: Path) -> Path:
    return write(folder, *FOUR, *(name.replace("images", "masks").replace("jpg", "png") for name in FOUR))


def coco(*names: str, file: str = "labels.json", folder: str = "data") -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        write(place, *(f"{folder}/{name}.jpg" for name in "abcd"))
        images = [{"id": n, "file_name": name, "width": 20, "height": 10} for n, name in enumerate(names)]
        annotations = [{"id": n, "image_id": n, "category_id": 3 + n % 2} for n in range(3)]
        content = {"images": images, "annotations": annotations, "categories": [{"id": 3, "name": "dog"}]}
        content["categories"].append({"id": 4, "name": "cat"})
        (place / file).write_text(json.dumps(content))
        return place

    return make


def metadata(folder: Path) -> Path:
    rows = [
        {"file_name": name, "labels": [kind]} for name, kind in zip(FOUR, ["dog", "dog", "cat", "cat"], strict=True)
    ]
    write(folder, *FOUR)
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def yolo(folder: Path) -> Path:
    write(folder, *(f"images/train/{name}.jpg" for name in "abcd"))
    (folder / "data.yaml").write_text("names:\n  0: dog\n  1: cat\ntrain: images/train\n")
    for name, text in {"a": "0 .5 .5 .2 .2\n", "b": "1 .5 .5 .2 .2\n0 .1 .1 .1 .1\n", "c": "", "d": ""}.items():
        (folder / "labels/train").mkdir(parents=True, exist_ok=True)
        (folder / f"labels/train/{name}.txt").write_text(text)
    return folder


def captions(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    with tarfile.open(folder / "captions.tar", "w") as opened:
        for n in range(4):
            caption = f"a photo of thing {n} on the grass"
            beside = {"txt": caption.encode(), "json": json.dumps({"caption": caption}).encode()}
            for ending, data in {"jpg": png(n), **beside}.items():
                entry = tarfile.TarInfo(f"{n:05d}.{ending}")
                entry.size = len(data)
                opened.addfile(entry, io.BytesIO(data))
    return folder / "captions.tar"


def sixteen_bits(folder: Path) -> Path:
    """10 bits in 16, as X-ray and thermal cameras write them."""
    (folder / "images").mkdir(parents=True)
    for name, top in {"ten": 1023, "full": 65535}.items():
        pixels = np.linspace(0, top, 20 * 16).reshape(16, 20).astype(np.uint16)
        Image.fromarray(pixels).save(folder / f"images/{name}.png")
    (folder / "tags.csv").write_text("image,tags\nten.png,blob\nfull.png,\n")
    return folder


NFD = unicodedata.normalize("NFD", "café.jpg")
DOGS = {"a.jpg": ["dog"], "b.jpg": ["cat"], "c.jpg": ["dog", "cat"], "d.jpg": []}
MISSING = table("image,tags\na.jpg,dog\nb.jpg,cat\nc.jpg,NaN\nd.jpg,None\n")

CASES = {
    "one-hot": Case(
        table("image,dog,cat\na.jpg,1,0\nb.jpg,0,1\nc.jpg,1,1\nd.jpg,0,0\n"), DOGS, says="the header names the tags"
    ),
    "one-hot of a spreadsheet": Case(
        table("id;dog;cat\na;1,0;0,0\nb;0,0;1,0\nc;1,0;1,0\nd;0,0;0,0\n"),
        {name[0]: tags for name, tags in DOGS.items()},
        says="the header names the tags",
    ),
    "one-hot with a mistake": Case(
        table("image,dog,cat\na.jpg,1,0\nb.jpg,0,2\nc.jpg,1,1\nd.jpg,0,0\n"), says="line 3 holds 2 in the column cat"
    ),
    "one-hot of Roboflow": Case(
        table("filename, dog, cat\na.jpg, 1, 0\nb.jpg, 0, 1\nc.jpg, 1, 1\nd.jpg, 0, 0\n", "_classes.csv"),
        DOGS,
        "table",
        says="the header names the tags",
    ),
    "long": Case(
        table("image,label\na.jpg,dog\nb.jpg,cat\nc.jpg,dog\nc.jpg,cat\nd.jpg,\n"),
        DOGS,
        says="1 image on several rows, which are put together",
    ),
    "long with confidence": Case(
        table("ImageID,LabelName,Confidence\na,dog,1\na,cat,0\nb,cat,1\nb,dog,0\nc,dog,1\nc,cat,1\nd,dog,0\nd,cat,0\n"),
        {"a": ["dog"], "b": ["cat"], "c": ["dog", "cat"], "d": []},
        says="1 means present and 0 absent",
    ),
    "negatives": Case(table("image,tags\na.jpg,dog\nb.jpg,cat\nc.jpg,dog;cat\nd.jpg,\n"), DOGS),
    "cells without a value": Case(
        MISSING, {"a.jpg": ["dog"], "b.jpg": ["cat"], "c.jpg": [], "d.jpg": []}, says="2 cells with NaN, None"
    ),
    "one tag": Case(
        table("image,tags\na.jpg,dog\nb.jpg,dog\nc.jpg,dog\nd.jpg,dog\n"),
        {name: ["dog"] for name in DOGS},
        stops=("no-absence",),
    ),
    "images and masks": Case(masks, says="no tags.csv .*it holds 4 images in images, 4 masks in masks"),
    "commas": Case(
        table('image,tags\na.jpg,dog\nb.jpg,cat\nc.jpg,"dog,cat"\nd.jpg,\n'), DOGS, says='"dog,cat" is several tags'
    ),
    "pipes": Case(table("image,tags\na.jpg,dog\nb.jpg,cat\nc.jpg,dog|cat\nd.jpg,\n"), DOGS, says="is several tags"),
    "lists as text": Case(
        table('image,tags\na.jpg,[\'dog\']\nb.jpg,"[""cat""]"\nc.jpg,"[\'dog\', \'cat\']"\nd.jpg,[]\n'),
        DOGS,
        says="4 cells with a list as text",
    ),
    "arrays as text": Case(
        table(
            "image,tags\na.jpg,\"array(['dog'], dtype=object)\"\nb.jpg,['cat']\n"
            "c.jpg,\"['dog'\n 'cat']\"\nd.jpg,\"array([], dtype=object)\"\n"
        ),
        DOGS,
        says="4 cells with a list as text",
    ),
    "full-width commas": Case(
        table("image,tags\na.jpg,dog\nb.jpg,cat\nc.jpg,dog，cat\nd.jpg,\n"), DOGS, says="is several tags"
    ),
    "words": Case(
        table("image,tags\na.jpg,dog\nb.jpg,cat\nc.jpg,dog and cat\nd.jpg,\n"), says="ambiguous .*--separator ' and '"
    ),
    "two separators": Case(
        table("image,tags\na.jpg,dog\nb.jpg,cat;dog\nc.jpg,dog/cat\nd.jpg,\n"),
        {"a.jpg": ["dog"], "b.jpg": ["cat", "dog"], "c.jpg": ["dog/cat"], "d.jpg": []},
        stops=("separators",),
    ),
    "slashes": Case(
        table("image,tags\na.jpg,dog\nb.jpg,cat\nc.jpg,dog/cat\nd.jpg,\n"), says="ambiguous .*--separator '/'"
    ),
    "spaces": Case(
        table("image,tags\na.jpg,dog\nb.jpg,cat\nc.jpg,dog cat\nd.jpg,\n"), says="ambiguous .*--separator space"
    ),
    "names with commas": Case(
        table('image,tags\na.jpg,"tench, Tinca tinca"\nb.jpg,"goldfish, Carassius"\nc.jpg,\nd.jpg,\n'),
        says="ambiguous .*--separator ',' for several, or --separator none for one",
    ),
    "names without extension": Case(
        table("image,tags\na,dog\nb,cat\nc,dog;cat\nd,\n"),
        {"a": ["dog"], "b": ["cat"], "c": ["dog", "cat"], "d": []},
        says="4 by extension",
    ),
    "names in another Unicode form": Case(
        table("image,tags\ncafé.jpg,dog\nb.jpg,cat\n", images=[f"images/{NFD}", "images/b.jpg"]),
        {"café.jpg": ["dog"], "b.jpg": ["cat"]},
        says="1 by Unicode form",
    ),
    "one image by two names": Case(
        table("image,label\nA.jpg,dog\na.JPG,cat\nb.jpg,cat\nc.jpg,dog\nd.jpg,\n"), says="write the name alike"
    ),
    "a name that fits two files": Case(
        table("image,tags\na,dog\nb,cat\n", images=["images/a.jpg", "images/a.png", "images/b.jpg"]),
        says="several files fit a: images/a.jpg, images/a.png",
    ),
    "a wrong name": Case(
        table("image,tags\na.jpg,dog\nbb.jpg,cat\nc.jpg,dog\nd.jpg,\n"),
        says="the nearest name to bb.jpg is images/b.jpg",
    ),
    "FiftyOne's COCO": Case(
        coco(*(f"{n}.jpg" for n in "abcd")),
        {"a.jpg": ["dog"], "b.jpg": ["cat"], "c.jpg": ["dog"], "d.jpg": []},
        "COCO",
        says="1 image without annotations",
    ),
    "COCO of Windows": Case(
        coco(*(f"images\\{n}.jpg" for n in "abcd"), file="result.json", folder="images"),
        {"images\\a.jpg": ["dog"], "images\\b.jpg": ["cat"], "images\\c.jpg": ["dog"], "images\\d.jpg": []},
        "COCO",
        says=r"4 by \\ for /",
    ),
    "Hugging Face": Case(
        metadata,
        {FOUR[0]: ["dog"], FOUR[1]: ["dog"], FOUR[2]: ["cat"], FOUR[3]: ["cat"]},
        "table",
        says="the column labels holds the tags",
    ),
    "YOLO": Case(
        yolo,
        {"train/a.jpg": ["dog"], "train/b.jpg": ["cat", "dog"], "train/c.jpg": [], "train/d.jpg": []},
        "YOLO",
        says="2 images with an empty label file",
        left_out=5,
    ),
    "captions": Case(captions, says="a .txt beside a .json or .cls is a caption"),
    "extensions": Case(
        extensions,
        {"dog/1.jpg": ["dog"], "dog/2.jfif": ["dog"], "cat/1.jpe": ["cat"], "cat/2.avif": ["cat"], "cat/3": ["cat"]},
        "class folders",
    ),
    "a stray image": Case(classes, {"dog/1.jpg": ["dog"], "cat/1.jpg": ["cat"]}, "class folders"),
    "sixteen bits": Case(sixteen_bits, {"ten.png": ["blob"], "full.png": []}),
}


@pytest.mark.parametrize("name", CASES)
def test_people_get_what_they_expect(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    data = case.make(tmp_path / "data")
    if case.tags is None:
        with pytest.raises(UserError, match=case.says) as caught:
            inspect(data).check(())
        assert "\n" not in str(caught.value) and str(data) in str(caught.value)
        return
    found = inspect(data)
    rows = found.reading.table.to_pylist()
    assert {row["image_id"]: row["tags"] for row in rows} == {
        unicodedata.normalize("NFC", k): v for k, v in case.tags.items()
    }
    assert all(row["tags_unknown"] is None and row["width"] for row in rows)
    assert found.reading.format == case.format and tuple(found.stops) == case.stops
    assert case.says == "" or any(re.search(case.says, note) for note in found.reading.notes)
    account = found.reading.account
    assert account.left_out.total == case.left_out and account.seen == len(rows) + case.left_out
    assert account.seen == len(walk(str(data)).files)


def test_ten_bits_in_sixteen_are_seen_over_their_own_range(tmp_path: Path) -> None:
    rows = inspect(sixteen_bits(tmp_path / "data")).reading.table.to_pylist()
    for row in rows:
        image = decode_rgb(row["uri"])
        assert image.min() == 0 and image.max() == 255 and abs(int(np.median(image)) - 127) < 3
