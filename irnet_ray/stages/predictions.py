"""Predictions of a trained student for every image, in the labels' schema."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from irnet_ray import tables
from irnet_ray.engine.mapping import MapStage, Row
from irnet_ray.run import Folder, Shards
from irnet_ray.stages.images import load_image, resize_map
from irnet_ray.stages.labels import Masks, encode_instances
from irnet_ray.stages.students import Student

MAX_TAGS = 254  # of one image: its semantic map is uint8


class Predicted(NamedTuple):
    """What the network step hands on for an image of working size (H, W)."""

    masks: np.ndarray  # bool (N, H, W)
    class_index: np.ndarray  # int64 (N,), into the vocabulary
    score: np.ndarray  # float32 (N,)
    semantic: np.ndarray  # int32 (H, W): 0 background, c + 1 class c


def stage(student: Student, folder: Folder, images: Shards, fingerprint: str) -> MapStage:
    """Predictions for every image; `folder` holds the student's weights, `fingerprint` goes into each row."""
    return MapStage(
        name="predict",
        schema=tables.LABELS,
        sources=(images,),
        load=partial(_load, student.config.max_side),
        network=partial(StudentNetwork, student, folder),
        finish=partial(_finish, student.vocabulary, fingerprint),
    )


def _load(max_side: int, row: Row) -> np.ndarray:
    return load_image(row["uri"], max_side)


class StudentNetwork:
    """A trained student of either kind on one device."""

    def __init__(self, student: Student, folder: Folder, gpu: bool) -> None:
        from irnet_ray.stages.deeplab import DeepLabPredictor
        from irnet_ray.stages.mask_rcnn import MaskRCNNPredictor

        kind = MaskRCNNPredictor if student.kind == "mask-rcnn" else DeepLabPredictor
        self.predict = kind(student, folder, gpu)

    def __call__(self, row: Row, image_HW3: np.ndarray) -> Predicted:
        """Predictions for one image, from its pixels alone."""
        return Predicted(*self.predict(image_HW3))


def _finish(vocabulary: tuple[str, ...], fingerprint: str, row: Row, value: Predicted) -> Row:
    size = (row["height"], row["width"])
    seen = sorted({*value.class_index.tolist(), *(int(n) - 1 for n in np.unique(value.semantic) if n)})
    if len(seen) > MAX_TAGS:
        raise ValueError(f"{len(seen)} classes were predicted in one image: its semantic map holds {MAX_TAGS}.")
    number_of = np.zeros(len(vocabulary) + 1, np.uint8)
    for number, name in enumerate(seen):
        number_of[name + 1] = number + 1
    named = {**row, "tags": [vocabulary[n] for n in seen], "class_ids": seen}
    index = number_of[value.class_index + 1].astype(np.int64) - 1
    # A student's own confidence is the best that is known of its masks' quality.
    masks = Masks(value.masks, index, value.score, value.score, value.semantic)
    return {
        **{key: named[key] for key in ("image_id", "tags", "width", "height")},
        "instances": encode_instances(named, masks),
        "semantic": tables.encode_png(resize_map(number_of[value.semantic], size)),
        "fingerprint": fingerprint,
    }
