"""A run of images that readers of exports stumble over, and what they must read in each."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from tests.exports.runs import box, image, instance, write_run

CLASSES = ["a: b", "größe 猫", "salt, pepper", "traffic light", "x & <y>"]
SIZE = (24, 32)
TINY = "tiny.png"
TURNED = "turned.jpg"
GIF = "moving.gif"
LONG = f"deep/{'ö' * 90}/{'x' * 200}.jpeg"

ORIENTATION = 0x0112
Truth = dict[str, list[tuple[str, np.ndarray]]]  # by image_id: class and bool (H, W) mask of each instance


def masks() -> Truth:
    """Masks that do not overlap within their image."""
    parts = box(SIZE, (1, 1, 6, 6), (15, 20, 22, 30), (8, 3, 9, 4))
    hole = box(SIZE, (2, 10, 14, 28)) & ~box(SIZE, (5, 14, 10, 22))
    return {
        "parts.a.b.png": [(CLASSES[0], parts), (CLASSES[1], hole)],
        TINY: [
            (CLASSES[2], box(SIZE, (7, 9, 8, 10))),
            (CLASSES[3], box(SIZE, (0, 0, 1, 1))),
            (CLASSES[4], box(SIZE, (23, 30, 24, 32))),
        ],
        "whole.bmp": [(CLASSES[3], box(SIZE, (0, 0, *SIZE)))],
        "empty.png": [],
        "same name.png": [(CLASSES[0], box(SIZE, (3, 3, 9, 9)))],
        "same name.jpg": [(CLASSES[1], box(SIZE, (4, 3, 9, 9)))],
        "Same_Name.tiff": [(CLASSES[2], box(SIZE, (5, 3, 9, 9)))],
        "größe/猫 1.webp": [(CLASSES[3], box(SIZE, (6, 3, 9, 9)))],
        "no extension": [(CLASSES[4], box(SIZE, (7, 3, 11, 9)))],
        "JFIF.jfif": [(CLASSES[0], box(SIZE, (8, 3, 12, 9)))],
        LONG: [(CLASSES[1], box(SIZE, (9, 3, 13, 9)))],
        TURNED: [(CLASSES[2], box(SIZE, (2, 2, 7, 18)))],
        GIF: [(CLASSES[3], box(SIZE, (10, 3, 14, 9)))],
    }


def hard_run(place: Path) -> tuple[Path, Truth]:
    """A run in `place/run` of images in `place/photos`, which are white where their masks are and black elsewhere."""
    truth, rows = masks(), []
    for number, (image_id, found) in enumerate(truth.items()):
        path = place / "photos" / image_id
        if len(path.name) > 200:
            path = path.with_name("long.jpeg")
        path.parent.mkdir(parents=True, exist_ok=True)
        _paint(path, painted(found))
        instances = [instance(mask, name, score=0.9 - number / 50) for name, mask in found]
        tags = list(dict.fromkeys(name for name, _ in found))
        semantic = sum(((tags.index(name) + 1) * mask for name, mask in found), np.zeros(SIZE)).astype(np.uint8)
        rows.append(image(image_id, instances, semantic, tags, uri=str(path)))
    return write_run(place / "run", rows, vocabulary=CLASSES), truth


def painted(found: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Bool (H, W), true in any of the masks."""
    return np.any([np.zeros(SIZE, bool), *(mask for _, mask in found)], axis=0)


def is_painted(pixels: np.ndarray, found: list[tuple[str, np.ndarray]]) -> bool:
    """Whether an image, (H, W) or (H, W, 3), shows the masks where they are."""
    grey = np.asarray(pixels).reshape(*pixels.shape[:2], -1)[..., 0]
    return grey.shape == SIZE and np.array_equal(grey > 127, painted(found))


def _paint(path: Path, white_HW: np.ndarray) -> None:
    pixels = Image.fromarray(np.where(white_HW, 255, 0).astype(np.uint8)).convert("RGB")
    kind = {".png": "PNG", ".bmp": "BMP", ".tiff": "TIFF", ".webp": "WEBP", ".gif": "GIF"}.get(path.suffix, "JPEG")
    options = {"JPEG": {"quality": 100}, "WEBP": {"lossless": True}}.get(kind, {})
    if path.name == TURNED:  # on its side, with the tag that says so
        exif = Image.Exif()
        exif[ORIENTATION] = 6
        pixels.transpose(Image.Transpose.ROTATE_90).save(path, kind, exif=exif, **options)
    else:
        pixels.save(path, kind, **options)


def ids_of(folder: Path) -> dict[str, str]:
    """The ids of an export by the names of its files, as `names.csv` tells."""
    with (folder / "names.csv").open(encoding="utf-8", newline="") as file:
        return {row["name"]: row["image_id"] for row in csv.DictReader(file)}
