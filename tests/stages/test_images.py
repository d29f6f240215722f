"""Images at working size, and crops that keep their pixels."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import irnet_ray
from irnet_ray.inputs.decode import ImageError
from irnet_ray.stages.images import crop, load, load_image, load_tag, random_corner, resize, resize_map, working_size

SIDES = st.integers(1, 40)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(32, 2000))
def test_working_sizes_keep_small_images_and_the_shape_of_large_ones(height: int, width: int, side: int) -> None:
    h, w = working_size(height, width, side)
    if max(height, width) <= side:
        assert (h, w) == (height, width)
    else:
        assert max(h, w) == side and min(h, w) >= 1
        assert abs(h / w - height / width) <= 0.5001 * (1 + height / width) / min(h, w) or min(h, w) == 1


def test_an_image_is_loaded_at_working_size(tmp_path: Path) -> None:
    Image.new("RGB", (90, 60), (10, 20, 30)).save(tmp_path / "a.png")
    small = load_image(str(tmp_path / "a.png"), 45)
    assert small.shape == (30, 45, 3) and small.dtype == np.uint8
    assert (small == (10, 20, 30)).all()
    assert load_image(str(tmp_path / "a.png"), 90).shape == (60, 90, 3)
    (tmp_path / "b.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError):
        load_image(str(tmp_path / "b.jpg"), 90)


def test_an_image_of_ten_bits_in_sixteen_is_not_black_and_the_window_holds(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(400, 469, (72, 96), np.uint16)
    photo[20:40, 30:60] = 460
    for name, image in (("ten.png", photo), ("full.png", photo * 64)):
        Image.fromarray(image).save(tmp_path / name)
        seen = load_image(str(tmp_path / name), 1280)
        assert seen.shape == (72, 96, 3) and seen.max() > 200 and seen.std() > 20
    row = {"image_id": "dog", "uri": str(tmp_path / "ten.png"), "uris": [str(tmp_path / "ten.png")]}
    windowed = load_image(row["uri"], 1280, (0, 1023))
    assert np.abs(windowed[..., 0].astype(int) - photo // 4).max() <= 1
    assert np.array_equal(load(row, 1280, (0, 1023)), windowed)
    assert np.array_equal(load_tag(row, 1280, (0, 1023))[0], windowed)


def test_everything_that_loads_images_hands_the_window_on() -> None:
    calls = []
    for path in (Path(irnet_ray.__file__).parent / folder for folder in ("stages", "commands")):
        for file in path.glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    said = ast.unparse(node)
                    if said.startswith(("load_image(", "partial(load,", "partial(load_tag,")):
                        calls.append((file.name, said))
    assert len(calls) >= 12
    assert not [call for call in calls if "window" not in call[1]]


def test_shrinking_averages() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(resize(stripes, (16, 16)).astype(int)[2:-2, 2:-2] - 127).max() <= 2


@given(SIDES, SIDES, SIDES, SIDES, st.integers(1, 4))
@settings(max_examples=50)
def test_maps_are_resized_by_nearest_pixels(h: int, w: int, height: int, width: int, factor: int) -> None:
    index = np.arange(h * w, dtype=np.int64).reshape(h, w)
    assert np.array_equal(resize_map(index, (h, w)), index)
    assert np.array_equal(resize_map(index, (h * factor, w * factor)), index.repeat(factor, 0).repeat(factor, 1))
    resized = resize_map(index, (height, width))
    assert resized.shape == (height, width)
    rows, columns = resized // w, resized % w
    assert np.abs((rows[:, 0] + 0.5) / h - (np.arange(height) + 0.5) / height).max() <= 0.5 / h + 1e-9
    assert (np.diff(rows, axis=0) >= 0).all() and (np.diff(columns, axis=1) >= 0).all()


@given(SIDES, SIDES, st.integers(-30, 45), st.integers(-30, 45), SIDES)
@settings(max_examples=50)
def test_a_crop_is_the_array_inside_and_fill_outside(h: int, w: int, top: int, left: int, side: int) -> None:
    array = np.arange(h * w).reshape(h, w)
    square = crop(array, top, left, side, -1)
    for y in range(side):
        for x in range(side):
            inside = 0 <= top + y < h and 0 <= left + x < w
            assert square[y, x] == (array[top + y, left + x] if inside else -1)


@given(SIDES, SIDES, SIDES, st.integers(0, 99))
def test_random_crops_lose_nothing_that_fits(h: int, w: int, side: int, seed: int) -> None:
    top, left = random_corner((h, w), side, np.random.default_rng(seed))
    for start, n in ((top, h), (left, w)):
        if n >= side:
            assert start >= 0 and start + side <= n  # the crop inside the image
        else:
            assert start <= 0 and start + side >= n  # the image inside the crop
