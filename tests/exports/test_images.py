"""Image files of an export: which extension they get, and which are copied to stand upright."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from irnet_ray.errors import UserError
from irnet_ray.exports.images import YOLO_EXTENSIONS, YOLO_FORMATS, Seen, look, place_image, yolo_extension
from irnet_ray.exports.labels import Counts

ORIENTATION = 0x0112


def saved(path: Path, kind: str, orientation: int = 1, mode: str = "L", **options: Any) -> np.ndarray:
    """Save an image of 4 rows and 6 columns that is dark in its left half; returns its pixels."""
    pixels = np.repeat([[0, 0, 0, 255, 255, 255]], 4, axis=0).astype(np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(pixels).convert(mode).save(path, kind, exif=exif, **options)
    return pixels


@pytest.mark.parametrize(
    ("name", "kind", "extension"),
    [
        ("a.JPG", "JPEG", ".jpg"),
        ("a.jpeg", "JPEG", ".jpeg"),
        ("a.jfif", "JPEG", ".jpg"),
        ("a", "PNG", ".png"),
        ("a.jpg", "WEBP", ".jpg"),
        ("a.b.c", "WEBP", ".webp"),
        ("a.img", "TIFF", ".tif"),
        ("a.mask", "BMP", ".bmp"),
        ("a.x", "JPEG2000", ".jp2"),
        ("a.jpg", "GIF", None),
        ("a.png", "PPM", None),
    ],
)
def test_content_decides_under_which_extension_yolo_reads(
    tmp_path: Path, name: str, kind: str, extension: str | None
) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / name, kind)
    seen = look(str(tmp_path / name))
    assert seen == Seen(True, kind) and yolo_extension(name, seen) == extension


def test_names_decide_where_there_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"unknown")
    assert look(str(tmp_path / "a.heic")) == Seen(True, None)
    gone = look(str(tmp_path / "gone.gif"))
    assert gone == Seen(False, None)
    assert [yolo_extension(name, gone) for name in ("a.HEIC", "a.gif", "a")] == [".heic", None, None]
    assert set(YOLO_FORMATS.values()) <= YOLO_EXTENSIONS


@pytest.mark.parametrize(
    ("kind", "extension", "options"),
    [
        ("JPEG", ".jpg", {"quality": 100}),
        ("PNG", ".png", {}),
        ("WEBP", ".png", {"lossless": True}),
        ("TIFF", ".tif", {}),
    ],
)
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_turned_images_are_copied_upright(
    tmp_path: Path, kind: str, extension: str, options: dict[str, Any], orientation: int
) -> None:
    mode = "RGB" if kind == "WEBP" else "L"
    pixels = saved(tmp_path / "a", kind, orientation, mode, **options)
    uri, place, counts = str(tmp_path / "a"), tmp_path / "copy", Counts()
    seen = look(uri)
    place_image(uri, seen, place, counts)
    assert seen.turned == (orientation != 1) == (not place.is_symlink())
    assert (counts.turned, counts.missing) == (orientation != 1, 0)
    if orientation != 1:
        upright = np.rot90(pixels, {3: 2, 6: 3, 8: 1}[orientation])
        with Image.open(place) as copy:
            assert copy.getexif().get(ORIENTATION, 1) == 1
            np.testing.assert_array_equal(np.asarray(copy.convert("L")) > 127, upright > 127)
        assert yolo_extension(uri, seen) == extension


def test_a_missing_image_is_linked_to_and_counted(tmp_path: Path) -> None:
    uri, counts = str(tmp_path / "gone.jpg"), Counts()
    place_image(uri, look(uri), tmp_path / "link", counts)
    assert (tmp_path / "link").readlink() == Path(uri) and counts.missing == 1


def test_a_turned_image_that_broke_since_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.effect_noise((64, 64), 90).save(path, exif=exif)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="a.jpg cannot be read to be turned upright, and has changed"):
        place_image(str(path), look(str(path)), tmp_path / "copy", Counts())
