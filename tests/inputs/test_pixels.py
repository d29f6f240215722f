"""Which range the samples of a deep image are scaled by, and what becomes of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irnet_ray.inputs.pixels import Deep, chosen_range, ends, to_bytes

RNG = np.random.default_rng(0)


def samples(low: float, high: float, kind: type = np.uint16) -> np.ndarray:
    """An image whose samples fill low..high."""
    return np.linspace(low, high, 4096).reshape(64, 64).astype(kind)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (samples(0, 255), "8-bit"),
        (samples(0, 1023), "10-bit"),
        (samples(100, 900), "10-bit"),
        (samples(0, 4095), "12-bit"),
        (samples(0, 16383), "14-bit"),
        (samples(0, 65535), "16-bit"),
        (samples(400, 468), "own"),  # 7 % of 10 bits
        (samples(29_000, 31_000), "own"),  # a thermal camera's hundredths of a kelvin
        (samples(-1024, 3071, np.int32), "own"),
        (samples(0, 4095, np.int32), "12-bit"),
        (samples(0, 1, np.float32), "0 to 1"),
        (samples(-1, 1, np.float32), "-1 to 1"),
        (samples(0, 255, np.float32), "8-bit"),
        (samples(280, 320, np.float32), "own"),
        (samples(-40, 60, np.float32), "own"),
    ],
)
def test_the_range_is_a_conventional_one_unless_the_image_would_be_flat(image: np.ndarray, name: str) -> None:
    assert chosen_range(Deep(image)).name == name
    shown = to_bytes(Deep(image)).astype(int)
    assert shown.max() - shown.min() >= 255 // 8 and shown.max() > 31


def test_images_of_one_camera_stay_comparable_and_a_dark_frame_stays_dark() -> None:
    bright, dim = samples(0, 4095), samples(0, 2047)
    assert to_bytes(Deep(dim)).max() == to_bytes(Deep(bright)).max() // 2
    assert to_bytes(Deep(RNG.integers(0, 21, (64, 64), np.uint16))).max() < 100
    assert (to_bytes(Deep(np.full((8, 8), 300, np.uint16))) == 75).all()


@pytest.mark.parametrize("size", [8, 64, 512])
def test_one_hot_or_dead_pixel_changes_nothing(size: int) -> None:
    image = np.linspace(900, 4095, size * size).reshape(size, size).astype(np.uint16)
    marked = image.copy()
    marked[size // 2, size // 2], marked[size // 3, size // 2] = 65535, 0
    usual = to_bytes(Deep(image))
    assert (to_bytes(Deep(marked)) == usual).mean() >= 1 - 2 / size**2


def test_letters_burnt_in_at_the_largest_value_do_not_make_the_rest_black() -> None:
    image = samples(0, 4095)
    image[:10, :10] = 65535
    shown = to_bytes(Deep(image))
    assert chosen_range(Deep(image)).name == "12-bit" and (shown[:10, :10] == 255).all()
    assert shown[30, 30] > 100


def test_what_holds_no_value_is_black_and_does_not_count() -> None:
    image = samples(280, 320, np.float32)
    image[0, :4] = np.nan, np.inf, -np.inf, -9999
    shown = to_bytes(Deep(image, empty=-9999.0))
    assert shown[0, :4].tolist() == [0, 255, 0, 0]
    assert shown[1:].min() < 10 and shown.max() == 255
    with pytest.raises(ValueError, match="no finite value"):
        to_bytes(Deep(np.full((3, 3), np.nan, np.float32)))


def test_white_is_zero_is_turned_over() -> None:
    assert to_bytes(Deep(samples(0, 65535), inverted=True))[0, 0] == 255
    assert to_bytes(Deep(samples(0, 65535), inverted=True))[-1, -1] == 0


@given(
    st.sampled_from([np.uint16, np.int32, np.uint32, np.float32]),
    st.integers(0, 60_000),
    st.integers(1, 5_000),
)
def test_a_window_holds_for_every_kind_of_sample(kind: type, low: int, width: int) -> None:
    image = np.array([[0, low, low + width / 2, low + width, 65535]]).astype(kind)
    shown = to_bytes(Deep(image), (low, low + width))[0]
    assert shown[1] == 0 and shown[3] == 255 and (np.diff(shown.astype(int)) >= 0).all()
    assert chosen_range(Deep(image), (low, low + width)).name == "window"


def test_colours_share_one_range() -> None:
    image = np.dstack([samples(0, 1023), samples(0, 500), samples(0, 60)])
    shown = to_bytes(Deep(image))
    assert np.array_equal(shown, image >> 2)
    assert ends(Deep(image))[0] == 0
