"""Polygons give their mask back bit for bit, whatever rasterizes them at the centers of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco
from scipy.ndimage import gaussian_filter

from irnet_ray.exports.polygons import outlines, polygon
from tests.exports.runs import box

MASKS = arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12)).filter(np.any)


def rasterize(points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """What a ray to the left of each pixel's center crosses, bool (H, W): by the even-odd rule, and by the winding."""
    x, y = np.arange(size[1]) + 0.5, np.arange(size[0]) + 0.5
    crossings, winding = np.zeros(size, int), np.zeros(size, int)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        rows = (y1 > y) != (y2 > y)
        if rows.any():
            hit = (x1 + (y[rows] - y1) * (x2 - x1) / (y2 - y1))[:, None] < x
            crossings[rows] += hit
            winding[rows] += hit if y2 > y1 else -hit.astype(int)
    return crossings % 2 == 1, winding != 0


def rasterize_as_coco(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask that COCO's own tools make of a polygon."""
    (rle,) = coco.frPyObjects([points.astype(float).ravel().tolist()], *size)
    return coco.decode(rle).astype(bool)


def area(points: np.ndarray) -> float:
    """Area inside an outline, positive if it runs clockwise as seen."""
    (x, y), (x_next, y_next) = points.T, np.roll(points, -1, axis=0).T
    return float((x * y_next - x_next * y).sum() / 2)


def test_a_box_is_its_four_corners_clockwise() -> None:
    assert polygon(box((4, 5), (1, 2, 3, 4))).tolist() == [[2, 1], [4, 1], [4, 3], [2, 3]]


def test_a_hole_runs_the_other_way_and_is_reached_by_a_cut() -> None:
    ring = box((3, 3), (0, 0, 3, 3)) & ~box((3, 3), (1, 1, 2, 2))
    outer, hole = outlines(ring)
    assert outer.tolist() == [[0, 0], [3, 0], [3, 3], [0, 3]]
    assert (area(outer), area(hole)) == (9, -1)
    path = polygon(ring)
    assert len(path) == 4 + 4 + 4  # both outlines; and the cut's two ends and its bend twice
    assert {tuple(point) for point in outer} | {tuple(point) for point in hole} <= {tuple(point) for point in path}


def test_pixels_that_touch_at_a_corner_are_one_part() -> None:
    assert len(outlines(np.eye(4, dtype=bool))) == 1
    assert len(outlines(np.eye(4, dtype=bool)[::-1])) == 1
    assert len(outlines(~np.eye(4, dtype=bool))) == 3  # the two triangles, and a hole for each inner pixel


def test_an_empty_mask_has_no_polygon() -> None:
    assert outlines(np.zeros((3, 3), bool)) == []
    with pytest.raises(ValueError, match="empty"):
        polygon(np.zeros((3, 3), bool))


@given(MASKS)
@settings(max_examples=300, deadline=None)
@example(np.indices((7, 7)).sum(axis=0) % 2 == 0)
@example(np.ones((1, 1), bool))
def test_every_mask_comes_back_from_its_one_polygon(mask_HW: np.ndarray) -> None:
    points = polygon(mask_HW)
    for filled in (*rasterize(points, mask_HW.shape), rasterize_as_coco(points, mask_HW.shape)):
        np.testing.assert_array_equal(filled, mask_HW)
    steps = np.abs(points - np.roll(points, 1, axis=0))
    assert np.all((steps == 0).sum(axis=1) == 1)  # along pixel edges, and never on the spot


@pytest.mark.parametrize("smooth", [2.0, 6.0])
def test_large_masks_of_many_parts_and_holes_come_back(smooth: float) -> None:
    noise = np.random.default_rng(0).normal(size=(200, 300))
    mask = gaussian_filter(noise, smooth) > 0
    assert len(outlines(mask)) > 10
    np.testing.assert_array_equal(rasterize_as_coco(polygon(mask), mask.shape), mask)
