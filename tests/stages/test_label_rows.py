"""The rows that a student trains on: wanted images, instances that are good enough, and ignored pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from irnet_ray import tables
from irnet_ray.config.sections import DeepLab
from irnet_ray.masks import decode_masks, encode_mask, encode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.stages.label_rows import IGNORED, LabelRows, semantic_target

SIZE = (4, 6)


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


def instance(mask: np.ndarray, name: str = "cat", score: float = 0.9, quality: float = 0.9) -> dict[str, Any]:
    return {"class_name": name, "class_id": 0, "score": score, "quality": quality, **encode_mask(mask)}


def row(image_id: str, instances: list[dict[str, Any]], semantic: np.ndarray | None = None) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "uri": f"/photos/{image_id}",
        "tags": ["dog", "cat"],
        "width": SIZE[1],
        "height": SIZE[0],
        "instances": instances,
        "semantic": encode_png(np.zeros(SIZE, np.uint8) if semantic is None else semantic),
        "fingerprint": "f",
    }


ROWS = [
    row("good.jpg", [instance(box(0, 0, 2, 2))]),
    row("poor.jpg", [instance(box(0, 0, 2, 2), quality=0.1)]),
    row("doubtful.jpg", [instance(box(0, 0, 2, 2), score=0.1), instance(box(2, 2, 4, 4))]),
    row("empty.jpg", []),
]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Two parts of two rows."""
    folder = Folder(str(tmp_path / "rows"))
    for number in range(2):
        rows = pa.Table.from_pylist(ROWS[2 * number : 2 * number + 2], tables.LABELS)
        folder.write_table(tables.part_name(number, 2), rows)
    return folder


@pytest.mark.parametrize(
    ("knobs", "held_out", "names"),
    [
        ({}, (), ["good", "poor", "doubtful", "empty"]),
        ({"background": "skip"}, (), ["good", "poor", "doubtful"]),
        ({"background": "skip", "min_quality": 0.5}, (), ["good", "doubtful"]),
        ({"background": "skip", "min_score": 0.95}, (), []),
        ({"min_quality": 0.5}, (), ["good", "poor", "doubtful", "empty"]),  # poor becomes background
        ({}, ("good.jpg", "elsewhere.jpg"), ["poor", "doubtful", "empty"]),
    ],
)
def test_held_out_and_skipped_images_are_not_counted(
    folder: Folder, knobs: dict[str, Any], held_out: tuple[str, ...], names: list[str]
) -> None:
    rows = LabelRows.of(DeepLab(**knobs), folder, folder.files(), frozenset(held_out))
    assert [r["image_id"] for r in ROWS if rows.wanted(r)] == [f"{name}.jpg" for name in names]
    assert rows.count() == len(names)


def test_only_the_named_parts_are_counted(folder: Folder) -> None:
    assert LabelRows.of(DeepLab(), folder, folder.files()[1:]).count() == 2


def test_a_target_numbers_classes_and_ignores_poor_instances() -> None:
    semantic = np.zeros(SIZE, np.uint8)
    semantic[:2, :2] = 2  # cat
    semantic[2:, 2:4] = 1  # dog
    semantic[3, 5] = IGNORED
    rows = LabelRows(Folder("/nowhere"), (), frozenset(), 0.0, 0.5, False)
    overlapping = [
        instance(box(0, 0, 2, 2), quality=0.9),
        instance(box(1, 0, 4, 2), quality=0.1),  # a good one covers half of it
        instance(box(2, 2, 4, 4), "dog"),
    ]
    target = semantic_target(row("a.jpg", overlapping, semantic), {"bird": 0, "cat": 1, "dog": 2}, rows)
    expected = np.zeros(SIZE, np.uint8)
    expected[:2, :2] = 2
    expected[2:, 2:4] = 3
    expected[2:, :2] = IGNORED
    expected[3, 5] = IGNORED
    assert target.dtype == np.uint8
    assert np.array_equal(target, expected)


def test_a_class_that_the_student_does_not_have_is_ignored() -> None:
    semantic = np.full(SIZE, 1, np.uint8)
    semantic[0] = 2
    rows = LabelRows(Folder("/nowhere"), (), frozenset(), 0.0, 0.0, False)
    target = semantic_target(row("a.jpg", [], semantic), {"cat": 0}, rows)
    assert (target[0] == 1).all() and (target[1:] == IGNORED).all()


def test_masks_come_back_as_they_were() -> None:
    masks = np.stack([box(0, 0, 2, 2), box(1, 1, 4, 6)])
    assert np.array_equal(decode_masks([instance(mask) for mask in masks], SIZE), masks)
    assert decode_masks([], SIZE).shape == (0, *SIZE)
