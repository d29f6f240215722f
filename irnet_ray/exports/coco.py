"""COCO's instance format: one JSON file. Masks are run lengths, which keep holes and parts to the pixel."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from irnet_ray.exports.labels import Counts, Labels
from irnet_ray.masks import coco_rle
from irnet_ray.tables import Row

FILE = "instances.json"


def write(labels: Labels, folder: Path, counts: Counts) -> str:
    """Write `folder/instances.json`; returns its name.

    Images are numbered from 1 in order of `image_id`, which is their `file_name`. Categories are numbered from 1 in the
    vocabulary's order. `iscrowd` is 0 for every annotation, even for masks of several parts, because trainers drop
    crowds. Annotations have two keys that COCO does not define, `score` and `quality`.
    """
    with (folder / FILE).open("w", encoding="ascii") as file:
        about = {"description": "Labels made by irnet-ray from image-level tags", "minimum_quality": labels.min_quality}
        file.write(f'{{"info": {json.dumps({**about, "minimum_score": labels.min_score})},\n"categories": [\n')
        _write_list(file, ({"id": number, "name": name} for name, number in labels.numbers.items()))
        file.write('],\n"images": [\n')
        _write_list(file, _images(labels))
        file.write('],\n"annotations": [\n')
        _write_list(file, _annotations(labels, counts))
        file.write("]}\n")
    return FILE


def _write_list(file: TextIO, entries: Iterable[dict[str, Any]]) -> None:
    # One entry at a time: a million images do not fit in memory as Python objects.
    for place, entry in enumerate(entries):
        file.write(("," if place else "") + json.dumps(entry) + "\n")


def _images(labels: Labels) -> Iterator[dict[str, Any]]:
    number = 0
    for batch in labels.images.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            number += 1
            yield {"id": number, "file_name": row["image_id"], "width": row["width"], "height": row["height"]}


def _annotations(labels: Labels, counts: Counts) -> Iterator[dict[str, Any]]:
    number = 0
    for image in labels.stream(["width", "height"]):
        for instance in image.kept:
            number += 1
            category = labels.numbers[instance["class_name"]]
            yield {"id": number, "image_id": image.number, "category_id": category, **_mask(image.row, instance)}
        counts.add(image)


def _mask(row: Row, instance: Row) -> dict[str, Any]:
    size = (row["height"], row["width"])
    coco_rle(instance, size)  # raises for a mask that would crash readers of the export
    return {
        "segmentation": {"size": list(size), "counts": instance["rle"]},
        "area": instance["area"],
        "bbox": instance["bbox"],
        "iscrowd": 0,
        "score": instance["score"],
        "quality": instance["quality"],
    }
