"""What the networks return for an image, and the table rows that the last step of the map stages makes of it.

Nothing here imports torch: loading and finishing run in one process per core, and these do without torch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from irnet_ray.algorithms.maps import MAX_TAGS
from irnet_ray.algorithms.relations import confident_map
from irnet_ray.config.load import Config
from irnet_ray.masks import encode_cam, encode_mask, encode_png
from irnet_ray.stages.images import resize_map
from irnet_ray.tables import Row


class Attention(NamedTuple):
    """The attention of an image, from the seeds network."""

    image: np.ndarray  # uint8 (H, W, 3)
    cam: np.ndarray  # float32 (K, h, w), the class attention map
    chosen: np.ndarray | None  # float32 (K, h, w), the seed method's own attention, if it has one
    full: np.ndarray  # float32 (K, H, W), the attention that the confident map is made from


class Masks(NamedTuple):
    """Labels of an image of working size (H, W)."""

    masks: np.ndarray  # bool (N, H, W)
    class_index: np.ndarray  # int64 (N,), into the image's tags
    score: np.ndarray  # float32 (N,)
    stability: np.ndarray  # float32 (N,)
    semantic: np.ndarray  # uint8 (H, W)


def no_masks(size: tuple[int, ...]) -> Masks:
    """Labels of an image of (H, W) pixels that shows nothing."""
    none = np.zeros(0, np.float32)
    return Masks(np.zeros((0, *size), bool), np.zeros(0, np.int64), none, none, np.zeros(size, np.uint8))


class Predicted(NamedTuple):
    """A student's prediction for an image of working size (H, W)."""

    masks: np.ndarray  # bool (N, H, W)
    class_index: np.ndarray  # int64 (N,), into the vocabulary
    score: np.ndarray  # float32 (N,)
    semantic: np.ndarray  # int32 (H, W): 0 background, c + 1 class c


class Ablated(NamedTuple):
    """Results of the paper's simpler methods for an image of working size (H, W)."""

    boundary: Masks  # labels without the displacement field
    affinitynet: np.ndarray  # uint8 (H, W), semantic labels
    cam: np.ndarray  # float32 (K, h, w), over all scales


def prototypes_row(row: Row, value: Row) -> Row:
    """A row of `tables.PROTOTYPES`. `row` is of the tags table; `value` holds the other columns."""
    return {"image_id": row["image_id"], **value}


def seeds_row(config: Config, class_of: dict[str, int], row: Row, value: Attention) -> Row:
    """A row of `tables.SEEDS`. `row` is of the images table."""
    knobs = config.seeds
    mined = confident_map(value.image, value.full, foreground=knobs.foreground, background=knobs.background)
    chosen = None if value.chosen is None else encode_cam(value.chosen)["cam"]
    return {
        "image_id": row["image_id"],
        "class_ids": [class_of[tag] for tag in row["tags"]],
        **encode_cam(value.cam),
        "attention": chosen,
        "confident_map": encode_png(mined),
    }


def labels_row(fingerprint: str, row: Row, value: Masks) -> Row:
    """A row of `tables.LABELS`. `row` joins the images and seeds tables."""
    size = (row["height"], row["width"])
    return {
        **{key: row[key] for key in ("image_id", "tags", "width", "height")},
        "instances": encode_instances(row, value),
        "semantic": encode_png(resize_map(value.semantic, size)),
        "fingerprint": fingerprint,
    }


def predictions_row(vocabulary: tuple[str, ...], fingerprint: str, row: Row, value: Predicted) -> Row:
    """A row of `tables.LABELS` whose tags are the classes that a student predicted. `row` is of the images table.

    Raises:
        ValueError: it predicted more than `MAX_TAGS` classes.
    """
    size = (row["height"], row["width"])
    seen = sorted({*value.class_index.tolist(), *(int(n) - 1 for n in np.unique(value.semantic) if n)})
    if len(seen) > MAX_TAGS:
        raise ValueError(
            f"{len(seen)} classes were predicted in one image, but its semantic map can hold {MAX_TAGS} at most."
        )
    number_of = np.zeros(len(vocabulary) + 1, np.uint8)
    for number, name in enumerate(seen):
        number_of[name + 1] = number + 1
    named = {**row, "tags": [vocabulary[n] for n in seen], "class_ids": seen}
    index = number_of[value.class_index + 1].astype(np.int64) - 1
    # The student's confidence is the best estimate of its masks' quality.
    masks = Masks(value.masks, index, value.score, value.score, value.semantic)
    return {
        **{key: named[key] for key in ("image_id", "tags", "width", "height")},
        "instances": encode_instances(named, masks),
        "semantic": encode_png(resize_map(number_of[value.semantic], size)),
        "fingerprint": fingerprint,
    }


def ablation_row(row: Row, value: Ablated) -> Row:
    """A row of `tables.ABLATION`. `row` joins the images and seeds tables."""
    size = (row["height"], row["width"])
    return {
        **{key: row[key] for key in ("image_id", "tags", "width", "height", "class_ids", "confident_map")},
        **encode_cam(value.cam),
        "boundary_instances": encode_instances(row, value.boundary),
        "affinitynet_semantic": encode_png(resize_map(value.affinitynet, size)),
    }


def encode_instances(row: Row, found: Masks) -> list[Row]:
    """The `instances` column of an image, with masks at its own size. `row` joins the images and seeds tables."""
    size = (row["height"], row["width"])
    vocabulary_of = dict(zip(row["tags"], row["class_ids"], strict=True))
    names = [row["tags"][index] for index in found.class_index]
    return [
        {
            "class_name": name,
            "class_id": vocabulary_of[name],
            "score": float(score),
            "quality": float(stability),
            **encode_mask(resize_map(mask, size)),
        }
        for mask, name, score, stability in zip(found.masks, names, found.score, found.stability, strict=True)
    ]
