"""COCO's instance format: one JSON file, or one per split.

Masks are run lengths, which keep holes and parts to the pixel.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from irnet_ray.exports.labels import Counts, Labels
from irnet_ray.masks import coco_rle
from irnet_ray.tables import Row

FILE = "instances.json"


def write(labels: Labels, folder: Path, counts: Counts) -> str:
    """Write `folder/instances.json`; returns its name.

    If the user named shares, each split with images has its own file instead, such as `instances_train.json`, and the
    name of the folder is returned, which is ".".

    Where the images come from a COCO file, images and categories keep their ids, and all its categories are listed.
    Otherwise images are numbered from 1 in order of `image_id`, and categories from 1 in the vocabulary's order. An
    image's `file_name` is its `image_id`. Annotations are numbered from 1. All numbers are unique over all files.

    `iscrowd` is 0 for every annotation, even for masks of several parts, because trainers drop crowds. Annotations have
    two keys that COCO does not define, `score` and `quality`.
    """
    if labels.shares is None:
        _write_files(labels, {None: folder / FILE}, counts)
        return FILE
    used = {labels.split(image_id) for image_id in labels.images["image_id"].to_pylist()}
    _write_files(labels, {name: folder / f"instances_{name}.json" for name in labels.shares if name in used}, counts)
    empty = [f"instances_{name}.json" for name in labels.shares if name not in used]
    if empty:
        counts.notes.append(f"no image fell to {' or '.join(empty)}, so it was not written")
    return "."


def _write_files(labels: Labels, paths: dict[str | None, Path], counts: Counts) -> None:
    """Write one file per split, in one pass over the labels. The split None holds all images."""
    about = {"description": "Labels made by irnet-ray from image-level tags", "minimum_quality": labels.min_quality}
    numbers = _category_ids(labels)
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    with ExitStack() as stack:
        writers: dict[str | None, _Entries] = {}
        for name, path in paths.items():
            file = stack.enter_context(path.open("w", encoding="ascii"))
            file.write(f'{{"info": {json.dumps({**about, "minimum_score": labels.min_score})},\n"categories": [\n')
            _write_list(file, categories)
            file.write('],\n"images": [\n')
            _write_list(file, _images(labels, name))
            file.write('],\n"annotations": [\n')
            writers[name] = _Entries(file)
        number = 0
        for image in labels.stream(["image_id", "width", "height"]):
            split = None if None in writers else labels.split(image.row["image_id"])
            for instance in image.kept:
                number += 1
                image_id = labels.source_ids.get(image.row["image_id"], image.number)
                entry = {"id": number, "image_id": image_id, "category_id": numbers[instance["class_name"]]}
                writers[split].add({**entry, **_mask(image.row, instance)})
            counts.add(image, split)
        for writer in writers.values():
            writer.file.write("]}\n")


@dataclass
class _Entries:
    """The entries of a JSON list, written one at a time: a million of them do not fit in memory as Python objects."""

    file: TextIO
    count: int = 0

    def add(self, entry: dict[str, Any]) -> None:
        self.file.write(("," if self.count else "") + json.dumps(entry) + "\n")
        self.count += 1


def _write_list(file: TextIO, entries: Iterable[dict[str, Any]]) -> None:
    writer = _Entries(file)
    for entry in entries:
        writer.add(entry)


def _images(labels: Labels, split: str | None) -> Iterator[dict[str, Any]]:
    """The images of a split, or of all splits if it is None."""
    number = 0
    for batch in labels.images.to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            number += 1
            if split is None or labels.split(row["image_id"]) == split:
                image_id = labels.source_ids.get(row["image_id"], number)
                yield {"id": image_id, "file_name": row["image_id"], "width": row["width"], "height": row["height"]}


def _category_ids(labels: Labels) -> dict[str, Any]:
    """The id of each category; those of the source come first, in its order."""
    ids = dict(labels.category_ids)
    if not ids:
        return dict(labels.numbers)
    free = int(max((number for number in ids.values() if isinstance(number, int | float)), default=0))
    others = [name for name in labels.vocabulary if name not in ids]
    return {**ids, **{name: free + number for number, name in enumerate(others, start=1)}}


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
