"""Reads the samples of an opened Pillow image at their full depth.

Pillow has no mode for colours of more than 8 bits. It keeps the upper byte of each sample and drops the lower one,
which makes a picture of 12 bits black. Its decoders can be told to keep the other byte, so two passes give both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import ImageOps
from PIL.ImageFile import ImageFile

from irnet_ray.inputs.pixels import Deep

DEPTHS = {  # what the images table and the plan call them
    "16": "16 bits",
    "16-colour": "16 bits a colour",
    "32": "32-bit integers",
    "float": "floats",
}

# Tags of TIFF; the last is GDAL's "no data".
_BITS, _PHOTOMETRIC, _PLANES, _SAMPLE_FORMAT, _EMPTY = 258, 262, 284, 339, 42113
# libtiff gives samples in the machine's byte order, and Pillow takes it for the file's.
_NATIVE = {"I;16S": "I;16NS", "I;16BS": "I;16NS", "I;32S": "I;32NS", "I;32BS": "I;32NS"}
_NATIVE |= {"F;32F": "F;32NF", "F;32BF": "F;32NF"}


def depth_of(image: ImageFile) -> str | None:
    """A key of `DEPTHS` for an image that is opened and not decoded; None for one of 8 bits or fewer."""
    if image.mode.startswith("I;16"):
        return "16"
    if image.mode in ("I", "F"):
        return "float" if image.mode == "F" else "32" if _bits(image) == 32 else "16"
    return "16-colour" if image.mode in ("RGB", "RGBA") and ";16" in _rawmode(image) else None


def deep_samples(image: ImageFile, upright: bool, again: Callable[[], ImageFile]) -> Deep:
    """Decode an image that `depth_of` calls deep, with EXIF orientation applied unless it is `upright`.

    `again` opens the same image once more. Transparency is dropped. Raises what Pillow's decoders raise.
    """
    if depth_of(image) != "16-colour":
        return _gray(image, upright)
    rawmode = _rawmode(image)
    if rawmode == "LA;16B":  # a PNG's gray with alpha, four bytes a pixel: the first two are the gray
        _set_rawmodes(image, lambda _: "RGBA")
        both = _array(image, upright)
        return Deep(both[..., 0].astype(np.uint16) << 8 | both[..., 1])
    if image.format == "TIFF" and _tag(image, _PLANES) == 2 and image.tile[0].codec_name == "libtiff":
        raise ValueError("it holds compressed planes of 16 bits, of which Pillow reads only 8: save it interleaved")
    # Colours that were multiplied by their alpha are read as they are: dividing each byte alone would be wrong.
    little = image.format == "TIFF" and image.tag_v2.prefix == b"II"  # type: ignore[attr-defined]
    if ";16N" in rawmode:
        little = sys.byteorder == "little"
    with again() as other:
        _set_rawmodes(image, lambda name: _byte(name, "L" if little else "B"))
        _set_rawmodes(other, lambda name: _byte(name, "B" if little else "L"))
        upper, lower = _array(image, upright), _array(other, upright)
    samples = upper.astype(np.uint16) << 8 | lower
    if rawmode.startswith("RGBa"):
        alpha = np.maximum(samples[..., 3:], 1).astype(np.float32)
        samples = np.minimum(samples[..., :3] * (65535 / alpha), 65535).astype(np.uint16)
    return Deep(np.ascontiguousarray(samples[..., :3]))


def _byte(rawmode: str, order: str) -> str:
    """The raw mode that takes the upper byte of 16 bits in this order: the lower one of those in the other order."""
    return f"{rawmode.partition(';')[0].replace('RGBa', 'RGBA')};16{order}"


def _gray(image: ImageFile, upright: bool) -> Deep:
    inverted, empty = _tag(image, _PHOTOMETRIC) == 0, _no_data(_tag(image, _EMPTY))
    unsigned = image.format == "TIFF" and image.mode == "I" and (_tag(image, _SAMPLE_FORMAT) or (1,))[0] == 1
    if image.tile and image.tile[0].codec_name == "libtiff":
        _set_rawmodes(image, lambda name: _NATIVE.get(name, name))
    samples = _array(image, upright)
    if samples.dtype.itemsize == 2:
        samples = samples.astype(np.uint16)  # in the machine's byte order
    elif unsigned:  # Pillow has no mode for them and shows the upper half as negative
        samples = np.ascontiguousarray(samples).view(np.uint32)
    return Deep(samples, inverted, empty)


def _array(image: ImageFile, upright: bool) -> np.ndarray:
    image.load()
    return np.asarray(image if upright else ImageOps.exif_transpose(image))


def _no_data(text: object) -> float | None:
    try:
        return float(str(text).strip("\0 "))
    except ValueError:
        return None


def _bits(image: ImageFile) -> int:
    """Bits of a sample of mode "I", which Pillow uses for 16 bits too."""
    return int((_tag(image, _BITS) or (32,))[0]) if image.format == "TIFF" else 16


def _tag(image: ImageFile, number: int) -> Any:
    """A tag of a TIFF; None where it has none."""
    return getattr(image, "tag_v2", {}).get(number)


def _rawmode(image: ImageFile) -> str:
    """How the decoder finds the samples in the file, such as "RGB;16B"."""
    if not image.tile:
        return ""
    args: Any = image.tile[0].args
    rawmode = args if isinstance(args, str) else str(args[0]) if args else ""
    if image.format == "TIFF" and rawmode == "R" and (_tag(image, _BITS) or (8,))[0] == 16:
        return f"{image.mode};16"  # planes, which Pillow would read as if they had 8 bits
    return rawmode


def _set_rawmodes(image: ImageFile, new: Callable[[str], str]) -> None:
    def changed(args: Any) -> Any:
        return new(args) if isinstance(args, str) else (new(args[0]), *args[1:])

    image.tile = [tile._replace(args=changed(tile.args)) for tile in image.tile]
