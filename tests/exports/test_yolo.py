"""YOLO's folders: polygons that rasterize to their masks, links, and the file that names them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as coco

from irnet_ray.errors import UserError
from irnet_ray.exports import yolo
from irnet_ray.exports.labels import Counts
from tests.exports.runs import VOCABULARY, box, image, instance, labels_of, write_run


def polygons(path: Path, size: tuple[int, int]) -> list[tuple[int, np.ndarray]]:
    """Class and mask of each line, rasterized by COCO's own tools."""
    found = []
    for line in path.read_text().splitlines():
        number, *shares = line.split()
        points = np.array(shares, float).reshape(-1, 2)
        assert len(points) >= 4 and points.min() >= 0 and points.max() <= 1
        (rle,) = coco.frPyObjects([(points * [size[1], size[0]]).ravel().tolist()], *size)
        found.append((int(number), coco.decode(rle).astype(bool)))
    return found


def test_polygons_are_their_masks(tmp_path: Path) -> None:
    size = (67, 91)  # shares of it are no round numbers
    y, x = np.indices(size)
    disc = (y - 30) ** 2 + (x - 40) ** 2 < 25**2
    masks = [
        disc,
        disc & ~((y - 30) ** 2 + (x - 40) ** 2 < 12**2),
        box(size, (0, 0, 20, 20), (40, 60, 67, 91), (21, 21, 30, 26)),
        (disc & ~box(size, (20, 30, 25, 45), (30, 30, 36, 45))) | box(size, (60, 80, 67, 91)),
    ]
    assert min(mask.sum() for mask in masks) > 200
    instances = [instance(mask, VOCABULARY[n % 3]) for n, mask in enumerate(masks)]
    run = write_run(tmp_path / "run", [image("a.png", instances, size=size)])
    yolo.write(labels_of(run), tmp_path, tmp_path, Counts())
    (file,) = (tmp_path / "labels").glob("*/a.txt")
    found = polygons(file, size)
    assert [number for number, _ in found] == [0, 1, 2, 0]
    for (_, filled), mask in zip(found, masks, strict=True):
        np.testing.assert_array_equal(filled, mask)


def test_images_and_labels_lie_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    names = [f"{number}.{('png', 'jpg')[number % 2]}" for number in range(60)]
    for name in names:
        Image.new("RGB", (8, 6)).save(tmp_path / "photos" / name, "PNG")
    mask = box((6, 8), (1, 2, 3, 6))
    rows = [
        image(name, [instance(mask, "dog")] * (n % 3), uri=str(tmp_path / "photos" / name))
        for n, name in enumerate(names)
    ]
    counts, home = Counts(), tmp_path / "elsewhere"
    yolo.write(labels_of(write_run(tmp_path / "run", rows)), tmp_path / "new", home, counts)
    data = yaml.safe_load((tmp_path / "new" / "data.yaml").read_text())
    assert data == {
        "path": str(home),
        "train": "images/train",
        "val": "images/val",
        "names": {0: "bird", 1: "cat", 2: "dog"},
    }
    seen = []
    for split in ("train", "val"):
        for link in sorted((tmp_path / "new" / data[split]).iterdir()):
            seen.append(link.name)
            assert link.readlink() == tmp_path / "photos" / link.name and link.is_file()
            label = tmp_path / "new" / "labels" / split / f"{link.stem}.txt"
            assert label.read_text() == "2 0.25 0.166667 0.75 0.166667 0.75 0.5 0.25 0.5\n" * (int(link.stem) % 3)
    assert sorted(seen) == sorted(names)
    assert (counts.images, counts.annotations, counts.empty) == (60, 60, 20)
    assert counts.splits["val"] == len(list((tmp_path / "new" / "labels" / "val").iterdir())) > 0


def exported(place: Path, rows: list[dict[str, Any]], shares: dict[str, float] | None = None) -> Counts:
    counts = Counts()
    (place / "new").mkdir()
    labels = replace(labels_of(write_run(place / "run", rows)), shares=shares)
    yolo.write(labels, place / "new", place / "new", counts)
    return counts


def test_a_split_without_images_is_not_named(tmp_path: Path) -> None:
    counts = exported(tmp_path, [image("0.png")], {"train": 1.0})
    data = yaml.safe_load((tmp_path / "new" / "data.yaml").read_text())
    assert data.keys() == {"path", "train", "names"} and counts.splits == {"train": 1}
    assert counts.notes == [
        "no image fell to val, so data.yaml does not name it, and ultralytics trains only with train and val: "
        "choose another --split"
    ]
    assert not (tmp_path / "new" / "images" / "val").exists()


def test_every_named_split_has_its_images(tmp_path: Path) -> None:
    counts = exported(tmp_path, [image(f"{n}.png") for n in range(60)], {"train": 0.5, "val": 0.25, "test": 0.25})
    data = yaml.safe_load((tmp_path / "new" / "data.yaml").read_text())
    for split in ("train", "val", "test"):
        assert len(list((tmp_path / "new" / data[split]).iterdir())) == counts.splits[split] > 0
    assert counts.notes == [] and counts.splits.total() == 60


def test_images_that_readers_do_not_open_are_counted(tmp_path: Path) -> None:
    kinds = {"a.gif": "GIF", "b.jpg": "GIF", "c.ppm": "PPM", "d": "PNG", "e.dat": "JPEG", "f.PNG": "PNG"}
    for name, kind in kinds.items():
        Image.new("RGB", (8, 6)).save(tmp_path / name, kind)
    rows = [image(name, uri=str(tmp_path / name)) for name in [*kinds, "x.gif", "y.jpg", "z"]]
    counts = exported(tmp_path, rows)
    linked = sorted(path.name for path in (tmp_path / "new" / "images").rglob("*.*"))
    assert linked == ["d.png", "e.jpg", "f.png", "y.jpg"]
    assert sorted(path.stem for path in (tmp_path / "new" / "labels").rglob("*.txt")) == ["d", "e", "f", "y"]
    reason = "of a format that YOLO's readers do not open (.gif: 1, GIF: 2, PPM: 1, without an extension: 1)"
    assert counts.images_left_out == {reason: 5}
    assert (counts.images, counts.missing, counts.turned) == (4, 1, 0)
    assert len((tmp_path / "new" / "names.csv").read_text().splitlines()) == 1 + 4


def test_nothing_but_such_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="^All 2 images are of a format .*: export to COCO or VOC.$"):
        exported(tmp_path, [image("a.gif"), image("b.gif")])
