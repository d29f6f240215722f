"""Masks of unknown tables: malformed counts are refused before pycocotools reads them, which does not check them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from pycocotools import mask as coco

from irnet_ray.masks import decode_mask, decode_masks, decode_png, encode_mask, encode_png, fits
from tests.fuzzing.sentences import FUZZ, damaged, outcome

SIDES = st.integers(1, 40)
# A character holds five bits of a run, from '0' on: characters of the format, and some others.
COUNTS = st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=30)


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """Bool (H, W): noise of any density, or a few rectangles."""
    height, width = draw(SIDES), draw(SIDES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    if draw(st.booleans()):
        return rng.random((height, width)) < draw(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))
    mask = np.zeros((height, width), bool)
    for _ in range(draw(st.integers(0, 3))):
        top, left = rng.integers(height), rng.integers(width)
        mask[top : top + rng.integers(1, 20), left : left + rng.integers(1, 20)] = True
    return mask


def instance(counts: str) -> dict[str, Any]:
    return {"class_name": "cat", "rle": counts}


@FUZZ
@given(mask=masks())
def test_any_mask_comes_back(mask: np.ndarray) -> None:
    made = instance(encode_mask(mask)["rle"])
    height, width = mask.shape
    assert np.array_equal(decode_mask(made, (height, width)), mask)
    assert np.array_equal(decode_masks([made, made], (height, width)), [mask, mask])


@FUZZ
@given(mask=masks(), size=st.tuples(SIDES, SIDES))
def test_counts_of_another_size_are_refused(mask: np.ndarray, size: tuple[int, int]) -> None:
    counts = encode_mask(mask)["rle"]
    assert fits(counts, *size) == (size[0] * size[1] == mask.size)


@FUZZ
@given(runs=st.lists(st.integers(0, 2**20), min_size=1, max_size=12))
def test_runs_are_read_as_pycocotools_reads_them(runs: list[int]) -> None:
    pixels = max(1, sum(runs))
    made = coco.frPyObjects({"size": [1, pixels], "counts": runs if sum(runs) else [1]}, 1, pixels)
    assert fits(made["counts"].decode("ascii"), 1, pixels)
    assert not fits(made["counts"].decode("ascii"), 1, pixels + 1)


@FUZZ
@given(counts=COUNTS | st.text(max_size=20), height=SIDES, width=SIDES)
@example(counts="", height=1, width=1)
@example(counts="P", height=1, width=1)  # a group that announces another one
@example(counts="o" * 50, height=9, width=9)
@example(counts="0", height=2**31 - 1, width=2**31 - 1)
@example(counts="PPPPPPPP1", height=2**20, width=2**20)  # 2^40 pixels, which are not allocated
def test_any_counts(counts: str, height: int, width: int) -> None:
    mask = outcome(lambda: decode_mask(instance(counts), (height, width)))
    assert mask is None or mask.shape == (height, width)
    several = outcome(lambda: decode_masks([instance(counts)], (height, width)))
    assert (several is None) == (mask is None)


@FUZZ
@given(data=st.data(), mask=masks())
def test_damaged_counts(data: st.DataObject, mask: np.ndarray) -> None:
    counts = data.draw(damaged(encode_mask(mask)["rle"].encode())).decode("latin-1")
    found = outcome(lambda: decode_mask(instance(counts), mask.shape))
    assert found is None or found.shape == mask.shape


@FUZZ
@given(data=st.data(), mask=masks())
@example(data=None, mask=np.zeros((1, 1), bool))
def test_any_class_map(data: st.DataObject | None, mask: np.ndarray) -> None:
    png = encode_png(mask.astype(np.uint8))
    assert np.array_equal(decode_png(png), mask)
    made = data.draw(damaged(png) | st.binary(max_size=60)) if data else b""
    found = outcome(lambda: decode_png(made))
    assert found is None or (found.dtype == np.uint8 and found.ndim == 2)
