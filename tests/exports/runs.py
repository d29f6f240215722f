"""Small finished runs with real Parquet, made without Ray and without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from irnet_ray import tables
from irnet_ray.exports.labels import Labels
from irnet_ray.masks import encode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import publish
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Version

Row = dict[str, Any]
VOCABULARY = ["bird", "cat", "dog"]


def instance(mask_HW: np.ndarray, name: str = "cat", score: float = 0.5, quality: float = 0.5) -> Row:
    """A value of the `instances` column."""
    rle = coco.encode(np.asfortranarray(mask_HW, dtype=np.uint8))
    return {
        "class_name": name,
        "class_id": VOCABULARY.index(name) if name in VOCABULARY else 0,
        "score": score,
        "quality": quality,
        "area": int(coco.area(rle)),
        "bbox": [float(n) for n in coco.toBbox(rle)],
        "rle": rle["counts"].decode("ascii"),
    }


def image(
    image_id: str,
    instances: Sequence[Row] = (),
    semantic_HW: np.ndarray | None = None,
    tags: Sequence[str] = ("cat", "dog"),
    uri: str | None = None,
    size: tuple[int, int] = (6, 8),
) -> Row:
    """A row of the labels table, of an image of (H, W) pixels; without a semantic map all is background."""
    height, width = size if semantic_HW is None else semantic_HW.shape
    semantic = np.zeros((height, width), np.uint8) if semantic_HW is None else semantic_HW
    return {
        "image_id": image_id,
        "uri": f"/photos/{image_id}" if uri is None else uri,
        "tags": list(tags),
        "width": width,
        "height": height,
        "instances": list(instances),
        "semantic": encode_png(semantic),
        "fingerprint": "0",
    }


def write_run(
    out: Path, rows: Sequence[Row], shards: int = 1, vocabulary: Sequence[str] = VOCABULARY, failed: Sequence[str] = ()
) -> Path:
    """A finished run as one of predictions is: of its stages only `images` and `labels` are known."""
    folder = Folder(str(out))
    ids = sorted([*(row["image_id"] for row in rows), *failed])
    stages = {name: Shards(folder.folder("stages", f"{name}-0"), shards) for name in ("images", "labels")}
    error = {"stage": "labels", "kind": "unreadable", "message": "no JPEG"}
    labels = [*rows, *({"image_id": name, "uri": f"/{name}", "error": error} for name in failed)]
    content = {"uri": "", "tags": [], "shard": 0}
    of_stage = {
        "images": (tables.IMAGES, [{"image_id": name, **content} for name in ids]),
        "labels": (tables.LABELS, labels),
    }
    for name, (schema, content_rows) in of_stage.items():
        for shard in range(shards):
            own = [row for row in content_rows if tables.shard_of(row["image_id"], shards) == shard]
            # Two units, so that parts are put together as those of a run are.
            for unit in (own[: len(own) // 2], own[len(own) // 2 :]):
                stages[name].commit(shard, schema, unit)
            stages[name].seal(shard, schema, [row["image_id"] for row in own])
    folders = {"images": "images-0", "labels": "labels-0"}
    known = {"version": "0", "stages": folders, "shards": shards, "vocabulary": list(vocabulary), "config": {}}
    publish(folder, Version(known))
    return out


def labels_of(out: Path, shards: int = 1, vocabulary: Sequence[str] = VOCABULARY, **thresholds: float) -> Labels:
    """What an export reads of a run by `write_run`."""
    rows = Shards(Folder(str(out)).folder("stages", "labels-0"), shards).rows
    return Labels(rows, list(vocabulary), **thresholds)


def box(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Bool (H, W), true in boxes of (top, left, bottom, right)."""
    mask = np.zeros(size, bool)
    for top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = True
    return mask
