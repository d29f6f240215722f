"""YOLO's segmentation format: a text file per image, with one polygon per line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import yaml

from irnet_ray.errors import UserError
from irnet_ray.exports import links
from irnet_ray.exports.images import look, place_image, yolo_extension
from irnet_ray.exports.labels import Counts, Labeled, Labels
from irnet_ray.exports.polygons import polygon
from irnet_ray.exports.splits import DEFAULT
from irnet_ray.masks import decode_mask

FILE = "data.yaml"
NOT_OPENED = "of a format that YOLO's readers do not open"


def write(labels: Labels, folder: Path, home: Path, counts: Counts) -> str:
    """Write `images`, `labels`, `names.csv` and `data.yaml` to `folder`, which will be moved to `home`.

    Returns "data.yaml", which names only splits that have images.

    A line of a label file is a class, counted from 0 in the vocabulary's order, and the corners x y of one polygon as
    shares of the image's width and height. The polygon holds all parts and holes of its mask, joined by cuts of zero
    width. Images of formats that no reader opens are left out and counted.

    Raises:
        UserError: no image is of a format that readers open.
    """
    names = links.flat_names(labels.images["image_id"].to_pylist())
    written: list[tuple[str, str, str]] = []
    refused: Counter[str] = Counter()
    for image in labels.stream(["image_id", "uri", "width", "height"]):
        name, uri, image_id = names[image.number - 1], image.row["uri"], image.row["image_id"]
        seen, split = look(uri), labels.split(image_id)
        extension = yolo_extension(uri, seen)
        if extension is None:
            refused[seen.format or links.extension(uri) or "without an extension"] += 1
            continue
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        place_image(uri, seen, folder / "images" / split / f"{name}{extension}", counts)
        (folder / "labels" / split / f"{name}.txt").write_text(_lines(image, labels.numbers))
        written.append((name, image_id, split))
        counts.add(image, split)
    if refused:
        reason = f"{NOT_OPENED} ({', '.join(f'{kind}: {number:,}' for kind, number in sorted(refused.items()))})"
        if not written:
            raise UserError(f"All {refused.total():,} images are {reason}: export to COCO or VOC.")
        counts.images_left_out[reason] = refused.total()
    _write_data(labels, folder, home, counts)
    links.write_names(folder, sorted(written, key=lambda row: row[1]))
    return FILE


def _write_data(labels: Labels, folder: Path, home: Path, counts: Counts) -> None:
    named = labels.shares or DEFAULT
    content = {
        "path": str(home),
        **{split: f"images/{split}" for split in named if counts.splits[split]},
        "names": dict(enumerate(labels.vocabulary)),
    }
    (folder / FILE).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    for split in dict.fromkeys([*named, "train", "val"]):
        if not counts.splits[split]:
            asked = (
                ", and ultralytics trains only with train and val: choose another --split" if split != "test" else ""
            )
            counts.notes.append(f"no image fell to {split}, so {FILE} does not name it{asked}")


def _lines(image: Labeled, numbers: dict[str, int]) -> str:
    height, width = size = image.row["height"], image.row["width"]
    lines = []
    for instance in image.kept:
        corners = polygon(decode_mask(instance, size)) / (width, height)
        # Six digits are exact to a fiftieth of a pixel in an image 20,000 pixels wide.
        lines.append(" ".join([str(numbers[instance["class_name"]] - 1), *(f"{n:.6g}" for n in corners.ravel())]))
    return "".join(f"{line}\n" for line in lines)
