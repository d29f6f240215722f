"""Samples of more than 8 bits are read whole, whatever the file: a ramp stays a ramp."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from irnet_ray.inputs.decode import ImageError, decode_rgb, describe_pixels
from tests.deep import write_png, write_tiff

Write = Callable[[Path, np.ndarray], Path]  # a ramp of uint16 (H, W) as a file


def _pillow(suffix: str, kind: type, scale: float = 1.0, shift: int = 0, **options: object) -> Write:
    def write(path: Path, ramp: np.ndarray) -> Path:
        path = path.with_suffix(suffix)
        Image.fromarray((ramp * scale + shift).astype(kind)).save(path, **options)
        return path

    return write


def _tiff(make: Callable[[np.ndarray], np.ndarray] = lambda ramp: ramp, **options: object) -> Write:
    return lambda path, ramp: write_tiff(path.with_suffix(".tif"), make(ramp), **options)  # type: ignore[arg-type]


def _png(channels: int) -> Write:
    return lambda path, ramp: write_png(
        path.with_suffix(".png"), ramp if channels == 1 else np.dstack([ramp] * channels)
    )


def _rgb(ramp: np.ndarray) -> np.ndarray:
    return np.dstack([ramp] * 3)


WRITERS = {
    **{f"PNG of {n} channels": _png(n) for n in (1, 2, 3, 4)},
    "PGM": _pillow(".pgm", np.uint16),
    "PFM": _pillow(".pfm", np.float32, 1 / 65535),
    "JPEG 2000": _pillow(".jp2", np.uint16),
    "TIFF, LZW": _pillow(".tif", np.uint16, compression="tiff_lzw"),
}
for order in "<>":
    for deflated in (False, True):
        where = f"{'little' if order == '<' else 'big'}-endian{' deflated' if deflated else ''} TIFF"
        options = {"order": order, "deflated": deflated}
        WRITERS |= {
            f"{where}, uint16": _tiff(**options),
            f"{where}, int16": _tiff(lambda ramp: (ramp.astype(int) - 32768).astype(np.int16), **options),
            f"{where}, int32": _tiff(lambda ramp: (ramp.astype(int) * 65537 - 2**31).astype(np.int32), **options),
            f"{where}, float32": _tiff(lambda ramp: (ramp / 65535).astype(np.float32), **options),
            f"{where}, RGB": _tiff(_rgb, **options),
            f"{where}, RGBA": _tiff(lambda ramp: np.dstack([ramp] * 4), alpha=2, **options),
            f"{where}, RGBX": _tiff(lambda ramp: np.dstack([ramp] * 4), alpha=0, **options),
            f"{where}, RGB times alpha": _tiff(
                lambda ramp: np.dstack([ramp // 2] * 3 + [np.full_like(ramp, 32767)]), alpha=1, **options
            ),
        }
    WRITERS[f"{order} TIFF in planes"] = _tiff(_rgb, order=order, planes=True)
WRITERS["TIFF, uint32"] = _tiff(lambda ramp: ramp.astype(np.uint32) * 65537)
LOSSY = {"JPEG 2000"}


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(width=st.integers(20, 60), height=st.integers(1, 9))
def test_a_ramp_over_the_full_range_becomes_0_to_255(kind: str, width: int, height: int, tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, width * height).round().reshape(height, width).astype(np.uint16)
    path = WRITERS[kind](tmp_path / "ramp", ramp)
    header = describe_pixels(path)
    assert header is not None and header.size == (width, height) and header.depth is not None
    shown = decode_rgb(str(path))
    assert shown.shape == (height, width, 3) and shown.dtype == np.uint8
    assert (shown == shown[..., :1]).all()
    if kind not in LOSSY:
        assert (np.diff(shown[..., 0].ravel().astype(int)) >= 0).all()
        assert np.abs(shown[..., 0].astype(int) - ramp // 256).max() <= 255 / (width * height) * 2 + 1
    assert shown.min() <= 1 and shown.max() >= 254


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if "RGB" in kind or "uint16" in kind or "PNG" in kind])
@pytest.mark.parametrize("bits", [10, 12])
def test_ten_and_twelve_bits_in_sixteen_are_not_black(kind: str, bits: int, tmp_path: Path) -> None:
    ramp = np.linspace(0, 2**bits - 1, 32 * 32).round().reshape(32, 32).astype(np.uint16)
    shown = decode_rgb(str(WRITERS[kind](tmp_path / "ramp", ramp)))[..., 0]
    assert np.abs(shown.astype(int) - (ramp >> bits - 8)).max() <= 1


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp", "gif"])
def test_eight_bits_are_decoded_to_just_their_bytes(suffix: str, tmp_path: Path) -> None:
    gray = np.arange(40, 104, dtype=np.uint8).reshape(8, 8)  # it uses a quarter of its range, and keeps to it
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(gray if suffix == "gif" else np.dstack([gray, gray // 2, gray // 3])).save(path, lossless=True)
    shown = decode_rgb(str(path))
    header = describe_pixels(path)
    assert header is not None and header.depth is None
    assert np.array_equal(shown, np.dstack([gray] * 3 if suffix == "gif" else [gray, gray // 2, gray // 3]))
    assert np.array_equal(decode_rgb(str(path), (50, 60)), shown)  # a window is for deeper images


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_gray_image_is_turned_upright(orientation: int, suffix: str, kind: type, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    ramp = np.linspace(0, 255 if kind is np.uint8 else 65535, 24).reshape(4, 6).astype(kind)
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(ramp).save(path, exif=exif)
    header, shown = describe_pixels(path), decode_rgb(str(path))[..., 0]
    turned = {1: ramp, 3: ramp[::-1, ::-1], 6: np.rot90(ramp, -1), 8: np.rot90(ramp)}[orientation]
    assert header is not None and header.size == turned.shape[::-1]
    assert np.array_equal(shown, turned if kind is np.uint8 else turned >> 8)


def test_of_several_pages_the_first_is_taken(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    path = write_tiff(tmp_path / "x.tif", ramp, pages=3)
    header = describe_pixels(path)
    assert header is not None and header.several
    assert np.array_equal(decode_rgb(str(path))[..., 0], ramp >> 8)


def test_tags_of_a_tiff_that_change_what_samples_mean(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    negative = decode_rgb(str(write_tiff(tmp_path / "n.tif", ramp, white_is_zero=True)))[..., 0]
    assert np.array_equal(negative, 255 - (ramp >> 8))
    heights = np.linspace(200, 900, 64).reshape(8, 8).astype(np.float32)
    heights[0] = -32768
    shown = decode_rgb(str(write_tiff(tmp_path / "h.tif", heights, no_data="-32768")))[..., 0]
    assert (shown[0] == 0).all() and shown[-1, -1] > 200 and np.ptp(shown[1:].astype(int)) > 100


@pytest.mark.parametrize(
    ("samples", "options", "says"),
    [
        (np.zeros((8, 8), np.float64), {}, "TIFF of a kind"),
        (np.zeros((8, 8, 3), np.float32), {}, "TIFF of a kind"),
        (np.zeros((8, 8, 3), np.uint16), {"planes": True, "deflated": True}, "save it interleaved"),
        (np.full((8, 8), np.nan, np.float32), {}, "no finite value"),
    ],
)
def test_what_cannot_be_read_whole_says_so(
    samples: np.ndarray, options: dict[str, bool], says: str, tmp_path: Path
) -> None:
    path = write_tiff(tmp_path / "x.tif", samples, **options)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match=says) as caught:
        decode_rgb(str(path))
    assert caught.value.kind == "unreadable"
