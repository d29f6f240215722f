"""PASCAL VOC's format: palette PNGs of classes and of objects, boxes as XML, and links to the images."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from irnet_ray.errors import UserError
from irnet_ray.exports import links
from irnet_ray.exports.images import look, place_image
from irnet_ray.exports.labels import Counts, Labeled, Labels
from irnet_ray.masks import decode_mask, decode_png

VOID = 255
MOST = 254  # classes, and objects per image: an index is one byte, of which 0 is background and 255 is void
BEYOND = f"beyond an image's best {MOST}"

LISTS = ("ImageSets/Main", "ImageSets/Segmentation")  # readers of boxes open the first, readers of masks the second
FOLDER = "VOC"
FOLDERS = ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationObject", *LISTS)


def check(labels: Labels) -> None:
    """Raise UserError for more classes than a PNG can hold, or for images that cannot be linked to."""
    if len(labels.vocabulary) > MOST:
        raise UserError(
            f"VOC's PNGs can hold {MOST} classes, and the run has {len(labels.vocabulary):,}: export to COCO or YOLO."
        )
    links.check(labels)


def write(labels: Labels, folder: Path, counts: Counts) -> str:
    """Write `folder/VOC`; returns "VOC".

    It holds JPEGImages, Annotations, SegmentationClass, SegmentationObject, ImageSets, labels.txt, names.csv, and
    dataset_meta.json, from which datumaro reads the classes.

    Images are named `.jpg` whatever their format is: readers open `JPEGImages/<name>.jpg` and decide by content. The
    index of a class is its line in `labels.txt`, from 1. The index of an object is its place in its image's
    Annotations, from 1. Where objects overlap, the one with the higher score wins. Pixels that only left-out instances
    cover are void in both PNGs.
    """
    place = folder / FOLDER
    for name in FOLDERS:
        (place / name).mkdir(parents=True)
    _write_lines(place / "labels.txt", labels.vocabulary)
    palette = colour_map()
    _write_meta(place / "dataset_meta.json", labels.vocabulary, palette)
    image_ids = labels.images["image_id"].to_pylist()
    names = links.flat_names(image_ids)
    splits = [labels.split(image_id) for image_id in image_ids]
    links.write_names(place, zip(names, image_ids, splits, strict=True))
    _write_lists(place, names, splits)
    for whole in labels.stream(["image_id", "uri", "tags", "width", "height", "semantic"]):
        image = whole.fewer(BEYOND, MOST)
        name, uri = names[image.number - 1], image.row["uri"]
        place_image(uri, look(uri), place / "JPEGImages" / f"{name}.jpg", counts)
        (place / "Annotations" / f"{name}.xml").write_text(annotation(image, f"{name}.jpg"), encoding="utf-8")
        classes, objects = index_maps(image, labels.numbers)
        _write_png(place / "SegmentationClass" / f"{name}.png", classes, palette.tobytes())
        _write_png(place / "SegmentationObject" / f"{name}.png", objects, palette.tobytes())
        counts.add(image, splits[image.number - 1])
    return FOLDER


def _write_lists(place: Path, names: list[str], splits: list[str]) -> None:
    """Write the lists of train, val and trainval, and of test if an image is in it."""
    members: dict[str, list[str]] = {"train": [], "val": [], "trainval": []}
    for name, split in zip(names, splits, strict=True):
        members.setdefault(split, []).append(name)
        if split != "test":
            members["trainval"].append(name)
    for folder in LISTS:
        for split, chosen in members.items():
            _write_lines(place / folder / f"{split}.txt", chosen)


def annotation(image: Labeled, file_name: str) -> str:
    """VOC's XML of the kept instances, in their order. Boxes count pixels from 1 and include their last pixel."""
    lines = [
        "<annotation>",
        f"  <folder>{FOLDER}</folder>",
        f"  <filename>{html.escape(file_name)}</filename>",
        f"  <size><width>{image.row['width']}</width><height>{image.row['height']}</height><depth>3</depth></size>",
        "  <segmented>1</segmented>",
    ]
    for instance in image.kept:
        x, y, width, height = (round(number) for number in instance["bbox"])
        box = {"xmin": x + 1, "ymin": y + 1, "xmax": x + width, "ymax": y + height}
        lines += [
            "  <object>",
            f"    <name>{html.escape(_plain(instance['class_name']))}</name>",
            "    <pose>Unspecified</pose>",
            "    <truncated>0</truncated>",
            "    <difficult>0</difficult>",
            f"    <bndbox>{''.join(f'<{side}>{place}</{side}>' for side, place in box.items())}</bndbox>",
            "  </object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


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


def _write_meta(path: Path, vocabulary: list[str], palette: np.ndarray) -> None:
    """Write the names and colours of all indices for datumaro, which knows no classes but VOC's without this file."""
    background, void = (f"_{name}_" if name in vocabulary else name for name in ("background", "ignored"))
    names = [background, *map(_plain, vocabulary), void]
    colours = [palette[index].tolist() for index in (*range(len(names) - 1), VOID)]
    content = {"label_map": {str(index): name for index, name in enumerate(names)}, "segmentation_colors": colours}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{_plain(line)}\n" for line in lines), encoding="utf-8")


def _plain(text: str) -> str:
    """The text on one line, without the control characters that XML forbids."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+", " ", text)
