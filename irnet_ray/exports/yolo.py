"""YOLO's segmentation format: a text file per image, with one polygon per line."""

from __future__ import annotations

from pathlib import Path

import yaml

from irnet_ray.exports import links
from irnet_ray.exports.labels import Counts, Labeled, Labels
from irnet_ray.exports.polygons import polygon
from irnet_ray.masks import decode_mask

FILE = "data.yaml"
SPLITS = ("train", "val")


def write(labels: Labels, folder: Path, home: Path, counts: Counts) -> str:
    """Write `images`, `labels` and `data.yaml` to `folder`, which will be moved to `home`; returns "data.yaml".

    A line is a class, counted from 0 in the vocabulary's order, and the corners x y of one polygon as shares of the
    image's width and height. The polygon holds all parts and holes of its mask, joined by cuts of zero width.
    """
    for split in SPLITS:
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)
    content = {
        "path": str(home),
        **{split: f"images/{split}" for split in SPLITS},
        "names": dict(enumerate(labels.vocabulary)),
    }
    (folder / FILE).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    names = links.flat_names(labels.images["image_id"].to_pylist())
    for image in labels.stream(["image_id", "uri", "width", "height"]):
        name, uri, split = names[image.number - 1], image.row["uri"], links.split(image.row["image_id"])
        links.link(uri, folder / "images" / split / f"{name}{links.extension(uri)}")
        (folder / "labels" / split / f"{name}.txt").write_text(_lines(image, labels.numbers))
        counts.add(image, split)
    return FILE


def _lines(image: Labeled, numbers: dict[str, int]) -> str:
    height, width = size = image.row["height"], image.row["width"]
    lines = []
    for instance in image.kept:
        corners = polygon(decode_mask(instance, size)) / (width, height)
        # Six digits are exact to a fiftieth of a pixel in an image 20,000 pixels wide.
        lines.append(" ".join([str(numbers[instance["class_name"]] - 1), *(f"{n:.6g}" for n in corners.ravel())]))
    return "".join(f"{line}\n" for line in lines)
