"""HEIC and AVIF are read where they can be, and else the error names the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from irnet_ray.inputs import heif
from irnet_ray.inputs.decode import ImageError, decode_rgb, read_size

HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"
RAMP = np.linspace(0, 255, 64 * 32).reshape(32, 64).astype(np.uint8)
AVIF = b"\0\0\0\x1cftypavif\0\0\0\0mif1miafavif"


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (HEIC, "HEIC"),
        (AVIF, "AVIF"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),  # an iPhone's: named by its compatible brands alone
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp41isom", None),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", None),
        (b"", None),
    ],
)
def test_the_format_is_known_by_its_brands(header: bytes, kind: str | None) -> None:
    assert heif.format_of(header) == kind


@pytest.mark.parametrize(
    ("header", "name", "says"),
    [
        (HEIC, "HEIF", r"x.jpg is HEIC, which needs pillow-heif: pip install 'irnet-ray\[heif\]'\."),
        (
            AVIF,
            "AVIF",
            r"x.jpg is AVIF, which needs a Pillow with AVIF, 11\.3 or later: pip install --upgrade pillow\.",
        ),
    ],
)
def test_the_missing_package_is_named(
    header: bytes, name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.init()
    monkeypatch.delitem(Image.OPEN, name, raising=False)
    monkeypatch.setattr(heif, "can_read_heic", lambda: False)
    (tmp_path / "x.jpg").write_bytes(header)
    assert read_size(tmp_path / "x.jpg") is None
    with pytest.raises(ImageError, match=says) as caught:
        decode_rgb(str(tmp_path / "x.jpg"))
    assert caught.value.kind == "unreadable"


def test_avif_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.dstack([RAMP] * 3)).save(tmp_path / "x.jpg", format="AVIF", quality=95, exif=exif)
    shown = decode_rgb(str(tmp_path / "x.jpg")).astype(int)
    assert shown.shape == (64, 32, 3) and read_size(tmp_path / "x.jpg") == (32, 64)
    assert np.abs(shown[..., 0] - np.rot90(RAMP, -1)).mean() < 3


def test_heic_is_read_once_its_package_is_there(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    assert heif.can_read_heic()
    Image.fromarray(np.dstack([RAMP] * 3)).save(tmp_path / "x.heic", format="HEIF", quality=95)
    assert read_size(tmp_path / "x.heic") == (64, 32)
    assert np.abs(decode_rgb(str(tmp_path / "x.heic")).astype(int)[..., 0] - RAMP).mean() < 3
