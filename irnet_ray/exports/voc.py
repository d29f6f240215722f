"""PASCAL VOC's segmentation format: palette PNGs of classes and of objects, beside links to the images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from irnet_ray.errors import UserError
from irnet_ray.exports import links
from irnet_ray.exports.labels import Counts, Labeled, Labels
from irnet_ray.masks import decode_mask, decode_png

VOID = 255
MOST = 254  # classes, and objects per image: an index is one byte, of which 0 is background and 255 is void
BEYOND = f"beyond an image's best {MOST}"

SPLITS = "ImageSets/Segmentation"
FOLDER = "VOC"
FOLDERS = ("JPEGImages", "SegmentationClass", "SegmentationObject", SPLITS)


def check(labels: Labels) -> None:
    """Raise UserError for more classes than a PNG can hold, or for images that cannot be linked to."""
    if len(labels.vocabulary) > MOST:
        raise UserError(
            f"VOC's PNGs can hold {MOST} classes, and the run has {len(labels.vocabulary):,}: export to COCO or YOLO."
        )
    links.check(labels)


def write(labels: Labels, folder: Path, counts: Counts) -> str:
    """Write `folder/VOC`; returns "VOC".

    It holds JPEGImages, SegmentationClass, SegmentationObject, ImageSets and labels.txt.

    The index of a class is its line in `labels.txt`, from 1. The index of an object is its place in its image, from 1.
    Where objects overlap, the one with the higher score wins. Pixels that only left-out instances cover are void in
    both PNGs.
    """
    place = folder / FOLDER
    for name in FOLDERS:
        (place / name).mkdir(parents=True)
    _write_lines(place / "labels.txt", labels.vocabulary)
    image_ids = labels.images["image_id"].to_pylist()
    names = links.flat_names(image_ids)
    palette = colour_map().tobytes()
    members: dict[str, list[str]] = {"train": [], "val": []}
    for image_id, name in zip(image_ids, names, strict=True):
        members[links.split(image_id)].append(name)
    for split, chosen in {**members, "trainval": names}.items():
        _write_lines(place / SPLITS / f"{split}.txt", chosen)
    for whole in labels.stream(["image_id", "uri", "tags", "width", "height", "semantic"]):
        image = whole.fewer(BEYOND, MOST)
        name, uri = names[image.number - 1], image.row["uri"]
        links.link(uri, place / "JPEGImages" / f"{name}{links.extension(uri)}")
        classes, objects = index_maps(image, labels.numbers)
        _write_png(place / "SegmentationClass" / f"{name}.png", classes, palette)
        _write_png(place / "SegmentationObject" / f"{name}.png", objects, palette)
        counts.add(image, links.split(image.row["image_id"]))
    return FOLDER


def index_maps(image: Labeled, numbers: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Class and object of each pixel, two uint8 (H, W) maps: 0 background, 255 void.

    Classes are those of the semantic label, by their `numbers`. Objects are the kept instances.
    """
    size = (image.row["height"], image.row["width"])
    number_of_tag = np.full(256, VOID, dtype=np.uint8)
    number_of_tag[: len(image.row["tags"]) + 1] = [0, *(numbers[tag] for tag in image.row["tags"])]
    classes_HW = number_of_tag[decode_png(image.row["semantic"])]
    objects_HW = np.zeros_like(classes_HW)
    for place in sorted(range(len(image.kept)), key=lambda place: image.kept[place]["score"]):
        objects_HW[decode_mask(image.kept[place], size)] = place + 1
    for instances in image.left_out.values():
        for instance in instances:
            objects_HW[decode_mask(instance, size) & (objects_HW == 0)] = VOID
    classes_HW[objects_HW == VOID] = VOID
    return classes_HW, objects_HW


def colour_map() -> np.ndarray:
    """VOC's colours, uint8 (256, 3): the bits of an index go to red, green and blue in turn, from the lowest bit on."""
    index = np.arange(256)
    colours = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((index >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def _write_png(path: Path, index_HW: np.ndarray, palette: bytes) -> None:
    image = Image.fromarray(index_HW)
    image.putpalette(palette)
    image.save(path)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(" ".join(line.splitlines()) + "\n" for line in lines), encoding="utf-8")
