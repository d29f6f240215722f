"""Predictions in the labels' schema: an image's own tags are the classes that were seen in it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from irnet_ray import tables
from irnet_ray.masks import decode_masks, decode_png
from irnet_ray.stages.rows import Predicted, predictions_row

ROW = {"image_id": "a.jpg", "uri": "/a.jpg", "tags": ["sheep"], "width": 12, "height": 8}
VOCABULARY = ("bird", "cat", "dog", "sheep")


def test_a_row_numbers_the_predicted_classes_and_keeps_the_masks() -> None:
    masks = np.zeros((2, 4, 6), bool)
    masks[0, :2, :3] = True
    masks[1, 2:, 3:] = True
    semantic = np.zeros((4, 6), np.int32)
    semantic[:2, :3] = 4  # sheep
    semantic[2:, 3:] = 2  # cat
    row = predictions_row(VOCABULARY, "mark", ROW, Predicted(masks, np.array([3, 1]), np.array([0.9, 0.4]), semantic))
    assert row["tags"] == ["cat", "sheep"]  # seen, in the vocabulary's order; the image's own tags do not matter
    assert [(i["class_name"], i["class_id"]) for i in row["instances"]] == [("sheep", 3), ("cat", 1)]
    assert [i["score"] for i in row["instances"]] == pytest.approx([0.9, 0.4])
    # Worked on at half the size, given at the image's own.
    assert decode_masks(row["instances"], (8, 12)).sum(axis=(1, 2)).tolist() == [24, 24]
    map_HW = decode_png(row["semantic"])
    assert (map_HW[:4, :6] == 2).all() and (map_HW[4:, 6:] == 1).all() and (map_HW[:4, 6:] == 0).all()
    pa.Table.from_pylist([{**row, "uri": "/a.jpg"}], tables.LABELS)


def test_an_image_in_which_nothing_is_seen_has_a_row_too() -> None:
    nothing = Predicted(
        np.zeros((0, 4, 6), bool), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((4, 6), np.int32)
    )
    row = predictions_row(VOCABULARY, "mark", ROW, nothing)
    assert (row["tags"], row["instances"]) == ([], [])
    assert not decode_png(row["semantic"]).any()


def test_more_classes_than_a_semantic_map_holds_are_an_error_of_that_image() -> None:
    names = tuple(f"class {n:03d}" for n in range(300))
    semantic = np.arange(1, 301, dtype=np.int32).reshape(10, 30)
    many = Predicted(np.zeros((0, 10, 30), bool), np.zeros(0, np.int64), np.zeros(0, np.float32), semantic)
    with pytest.raises(ValueError, match="300 classes"):
        predictions_row(names, "mark", {**ROW, "width": 30, "height": 10}, many)
