"""Images are told by what they hold, where their extension does not say it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, features

from irnet_ray.inputs import sniff
from tests.inputs.formats import png, write


def encoded(name: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), (9, 99, 200)).save(stream, name)
    return stream.getvalue()


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("file", ["a", "a.jfif", "a.jpe", "a.unheard-of", "a.b.c"])
def test_photos_are_found_whatever_they_are_called(tmp_path: Path, name: str, file: str) -> None:
    if name == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    (tmp_path / file).write_bytes(encoded(name))
    assert sniff.images(str(tmp_path), [file]) == [file]
    assert sniff.is_image_bytes(encoded(name))


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"avis"])
def test_a_photo_that_pillow_cannot_open_is_an_image_too(brand: bytes) -> None:
    assert sniff.is_image_bytes(b"\0\0\0\x18ftyp" + brand + bytes(20))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"B",
        b"BM means something else in this text",
        b"RIFF\x10\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypisom\0\0\0\0isomiso2mp41",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"%PDF-1.7",
        b"PK\x03\x04",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"dog,cat\n" * 9,
    ],
)
def test_other_files_are_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file").write_bytes(data)
    assert sniff.images(str(tmp_path), ["file"]) == [] and not sniff.is_image_bytes(data)


def test_the_extension_decides_where_it_is_a_usual_one(tmp_path: Path) -> None:
    write(tmp_path, "b.png", "a.csv", "gone")
    (tmp_path / "c.JPG").write_bytes(b"no image")
    (tmp_path / "gone").unlink()
    assert sniff.images(str(tmp_path), ["b.png", "a.csv", "gone", "c.JPG"]) == ["b.png", "c.JPG"]
    assert (tmp_path / "a.csv").read_bytes() == png(1)  # a photo in there: such names are never opened
