"""Truth as a labels table. A student trained on it is the upper bound of training on labels (paper 6.3)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from irnet_ray import tables
from irnet_ray.evaluation.truth import TruthImage, semantic_map
from irnet_ray.masks import encode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards, fingerprint
from irnet_ray.stages.label_rows import IGNORED
from irnet_ray.tables import Row


def write_truth(folder: Folder, images: pa.Table, truth: dict[str, TruthImage], folds: int) -> Shards:
    """Write the truth of the images of `images` (`tables.IMAGES`) that have truth, one part per fold.

    The fold of an image depends on its id only. Parts that exist already are not written again.

    Returns:
        The parts.
    """
    mark = fingerprint([(name, i.class_name, str(i.rle)) for name in sorted(truth) for i in truth[name].instances])
    uris = dict(zip(images["image_id"].to_pylist(), images["uri"].to_pylist(), strict=True))
    shards = Shards(folder.folder("stages", f"truth-{fingerprint(mark, sorted(uris), folds)}"), folds)
    for fold in set(range(folds)) - shards.sealed(errors=False):
        ids = [name for name in sorted(truth) if name in uris and tables.shard_of(name, folds) == fold]
        rows = [truth_row(name, uris[name], truth[name], mark) for name in ids]
        shards.rows.write_table(shards.part(fold), pa.Table.from_pylist(rows, tables.LABELS))
    return shards


def truth_row(image_id: str, uri: str, image: TruthImage, mark: str) -> Row:
    """The truth of an image as a row of `tables.LABELS`. Crowds have no class: `IGNORED` in the semantic map."""
    from pycocotools import mask as coco

    true = [instance for instance in image.instances if not instance.crowd]
    tags = sorted({instance.class_name for instance in true})
    numbers = {name: number for number, name in enumerate(tags, start=1)}
    semantic = semantic_map([i for i in image.instances if i.crowd or i.class_name in numbers], numbers, _size(image))
    return {
        "image_id": image_id,
        "uri": uri,
        "tags": tags,
        "width": image.width,
        "height": image.height,
        "instances": [
            {
                "class_name": instance.class_name,
                "class_id": numbers[instance.class_name] - 1,
                "score": 1.0,
                "quality": 1.0,
                "area": int(coco.area(instance.rle)),
                "bbox": [float(n) for n in coco.toBbox(instance.rle)],
                "rle": _text(instance.rle["counts"]),
            }
            for instance in true
        ],
        "semantic": encode_png(np.where(semantic < 0, IGNORED, semantic)),
        "fingerprint": mark,
    }


def _size(image: TruthImage) -> tuple[int, int]:
    return image.height, image.width


def _text(counts: bytes | str) -> str:
    return counts if isinstance(counts, str) else counts.decode("ascii")
