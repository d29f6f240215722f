"""Reads the samples of an opened Pillow image at their full depth.

Pillow has no mode for colours of more than 8 bits. It keeps the upper byte of each sample and drops the lower one, which
makes a picture of 12 bits black. Its decoders can be told to keep the other byte, so two passes give the whole sample.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps

from irnet_ray.inputs.pixels import Deep

DEPTHS = {  # what the images table and the plan call them
    "16": "16 bits",
    "16-colour": "16 bits a colour",
    "32": "32-bit integers",
    "float": "floats",
}

_PHOTOMETRIC, _SAMPLE_FORMAT, _EMPTY = 262, 339, 42113  # tags of TIFF; the last is GDAL's "no data"
_NATIVE = ";16L" if sys.byteorder == "little" else ";16B"
_OTHER_BYTE = {";16L": ";16B", ";16B": ";16L"}


def depth_of(image: Image.Image) -> str | None:
    """A key of `DEPTHS` for an image that is opened and not decoded; None for one of 8 bits or fewer."""
    if image.mode.startswith("I;16"):
        return "16"
    if image.mode in ("I", "F"):
        return "float" if image.mode == "F" else "32" if _bits(image) == 32 else "16"
    return "16-colour" if image.mode in ("RGB", "RGBA") and ";16" in _rawmode(image) else None


def deep_samples(image: Image.Image, upright: bool, again: Callable[[], Image.Image]) -> Deep:
    """Decode an image that `depth_of` calls deep, with EXIF orientation applied unless it is `upright`.

    `again` opens the same image once more. Transparency is dropped. Raises what Pillow's decoders raise.
    """
    _mend(image)
    if depth_of(image) != "16-colour":
        return _gray(image, upright)
    rawmode = _rawmode(image)
    with again() as other:
        _mend(other)
        if rawmode == "LA;16B":  # a PNG's gray with alpha: four bytes a pixel, the first two of them gray
            _set_rawmode(image, "RGBA")
            both = _array(image, upright)
            return Deep(both[..., 0].astype(np.uint16) << 8 | both[..., 1])
        # Colours that were multiplied by their alpha are read as they are: dividing each byte alone would be wrong.
        plain = rawmode.replace("RGBa", "RGBA").replace(";16N", _NATIVE)
        _set_rawmode(image, plain)
        _set_rawmode(other, plain[:-4] + _OTHER_BYTE[plain[-4:]])
        upper, lower = _array(image, upright), _array(other, upright)
    samples = upper.astype(np.uint16) << 8 | lower
    if rawmode.startswith("RGBa"):
        alpha = np.maximum(samples[..., 3:], 1).astype(np.float32)
        samples = np.minimum(samples[..., :3] * (65535 / alpha), 65535).astype(np.uint16)
    return Deep(np.ascontiguousarray(samples[..., :3]))


def _gray(image: Image.Image, upright: bool) -> Deep:
    tags = getattr(image, "tag_v2", {})
    inverted, empty = tags.get(_PHOTOMETRIC) == 0, _no_data(tags.get(_EMPTY))
    unsigned = image.format == "TIFF" and image.mode == "I" and tags.get(_SAMPLE_FORMAT, (1,))[0] == 1
    samples = _array(image, upright)
    if samples.dtype.kind in "ui" and samples.dtype.itemsize == 2:
        samples = samples.astype(np.uint16)  # in the machine's byte order
    elif unsigned:  # Pillow has no mode for them either, and shows the upper half as negative
        samples = samples.view(np.uint32)
    return Deep(samples, inverted, empty)


def _array(image: Image.Image, upright: bool) -> np.ndarray:
    image.load()
    return np.asarray(image if upright else ImageOps.exif_transpose(image))


def _no_data(text: object) -> float | None:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None


def _bits(image: Image.Image) -> int:
    """Bits of a sample of mode "I", which Pillow uses for 16 bits too."""
    if image.format == "TIFF":
        return int(image.tag_v2.get(258, (32,))[0])  # type: ignore[attr-defined]
    return 16  # of PNG and PGM


def _rawmode(image: Image.Image) -> str:
    """How the decoder finds the samples in the file."""
    tile = image.tile[0] if getattr(image, "tile", None) else None
    if tile is None:
        return ""
    rawmode = tile.args if isinstance(tile.args, str) else tile.args[0] if tile.args else ""
    if image.format == "TIFF" and tile.codec_name == "raw" and rawmode == "R":  # a plane for each colour
        sizes = image.tag_v2.get(258, ())  # type: ignore[attr-defined]
        return f"{image.mode}{_NATIVE}" if sizes and sizes[0] == 16 else rawmode
    return str(rawmode)


def _set_rawmode(image: Image.Image, rawmode: str) -> None:
    image.tile = [
        tile._replace(args=rawmode if isinstance(tile.args, str) else (rawmode, *tile.args[1:])) for tile in image.tile
    ]


def _mend(image: Image.Image) -> None:
    """Correct what Pillow gets wrong in a TIFF of more than 8 bits."""
    if image.format != "TIFF" or not image.tile:
        return
    tile = image.tile[0]
    tags = image.tag_v2  # type: ignore[attr-defined]
    if tile.codec_name == "raw" and tile.args[0] == "R":
        # It reads planes of 16 bits as if they were of 8. libtiff, which it has for compressed files, reads them well.
        tile = tile._replace(codec_name="libtiff", extents=(0, 0, *image.size), offset=0)
        image.tile = [tile._replace(args=(f"{image.mode};16N", False, tags.offset))]
        image.use_load_libtiff = True  # type: ignore[attr-defined]
    elif tile.codec_name == "libtiff":
        # libtiff gives the machine's byte order, and Pillow takes it for the file's.
        native = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF", "I;16S": "I;16NS", "I;32S": "I;32NS"}
        if tile.args[0] in native or tile.args[0] == "F;32F":
            _set_rawmode(image, native.get(tile.args[0], "F;32NF"))
