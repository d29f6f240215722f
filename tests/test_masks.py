"""Class maps, masks and attention come back from their codecs, and damaged ones are refused in a sentence."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools import mask as coco

from irnet_ray import masks
from irnet_ray.errors import UserError
from irnet_ray.masks import (
    coco_rle,
    decode_attention,
    decode_cam,
    decode_mask,
    decode_masks,
    decode_png,
    encode_cam,
    encode_mask,
    encode_png,
    fits,
)

MASK = np.zeros((4, 6), bool)
MASK[1:3, 2:5] = True


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
@settings(max_examples=30)
def test_png_is_lossless(index: np.ndarray) -> None:
    assert np.array_equal(decode_png(encode_png(index)), index)
    assert np.array_equal(decode_png(encode_png(index[::-1].T)), index[::-1].T)


def png(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "A class map in the table is not a PNG"),
        (png(Image.new("L", (3, 2)), "BMP"), "A class map in the table is not a PNG"),
        (encode_png(np.arange(200, dtype=np.uint8).reshape(10, 20))[:50], "A class map in the table is not a PNG"),
        (png(Image.new("RGB", (3, 2))), "A class map in the table is not 8-bit gray, or is too large"),
    ],
)
def test_bytes_that_are_not_a_class_map_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        decode_png(data)


def test_a_class_map_of_too_many_pixels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_png(np.zeros((3, 4), np.uint8))
    monkeypatch.setattr(masks, "MAX_PIXELS", 11)
    with pytest.raises(UserError, match="too large"):
        decode_png(data)


def test_a_mask_is_encoded_with_its_area_and_box() -> None:
    found = encode_mask(MASK)
    assert (found["area"], found["bbox"]) == (6, [2, 1, 3, 2])
    assert coco.decode({"size": [4, 6], "counts": found["rle"].encode()}).tolist() == MASK.tolist()


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12)))
@settings(max_examples=30)
def test_masks_come_back(mask: np.ndarray) -> None:
    one, other = encode_mask(mask), encode_mask(~mask)
    assert np.array_equal(decode_mask(one, mask.shape), mask)
    several = decode_masks([one, other], mask.shape)
    assert several.dtype == bool and several.flags.c_contiguous and np.array_equal(several, [mask, ~mask])


def test_no_instances_are_no_masks() -> None:
    assert decode_masks([], (4, 6)).shape == (0, 4, 6)


@pytest.mark.parametrize("counts", ["", "a", "928", "P", "é", "o" * 50])
def test_malformed_counts_are_refused_before_pycocotools_reads_them(counts: str) -> None:
    for decode in (coco_rle, decode_mask, lambda instance, size: decode_masks([instance], size)):
        with pytest.raises(UserError, match="A mask of class cat is not the RLE of 4 x 6 pixels"):
            decode({"class_name": "cat", "rle": counts}, (4, 6))


def test_counts_fit_one_size_alone() -> None:
    counts = encode_mask(MASK)["rle"]
    assert fits(counts, 4, 6) and fits(counts, 6, 4)  # as many pixels
    assert not fits(counts, 4, 5) and not fits(counts, 5, 6) and not fits(counts, 0, 0)
    assert not fits(counts, 2**20, 2**20)


@given(st.lists(st.integers(0, 2**20), min_size=1, max_size=9).filter(any))
def test_counts_of_any_runs_fit(runs: list[int]) -> None:
    made = coco.frPyObjects({"size": [1, sum(runs)], "counts": runs}, 1, sum(runs))
    assert fits(made["counts"].decode("ascii"), 1, sum(runs))


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 1, 1), (0, 5, 7)])
def test_cams_come_back_at_half_precision(shape: tuple[int, int, int]) -> None:
    cam = np.random.default_rng(0).random(shape, dtype=np.float32)
    row = encode_cam(cam.transpose(0, 2, 1).copy().transpose(0, 2, 1))
    back = decode_cam(row)
    assert back.shape == shape and back.dtype == np.float32 and len(row["cam"]) == 2 * cam.size
    assert np.abs(back - cam).max(initial=0) <= 2**-11


def test_attention_is_the_seed_method_s_or_else_the_cam() -> None:
    cam, attention = np.full((1, 2, 2), 0.25), np.full((1, 2, 2), 0.75)
    row = {**encode_cam(cam), "attention": None}
    assert np.array_equal(decode_attention(row), cam)
    assert np.array_equal(decode_attention({**row, "attention": encode_cam(attention)["cam"]}), attention)
