"""Decodes images to RGB arrays, upright, as people see them."""

from __future__ import annotations

import io
import os
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from irnet_ray.errors import reason
from irnet_ray.inputs import heif, uris
from irnet_ray.inputs.pixels import Deep, Range, Window, chosen_range, ends, to_bytes
from irnet_ray.inputs.samples import deep_samples, depth_of
from irnet_ray.masks import MAX_PIXELS

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif")
    + (".jp2", ".j2k", ".pgm", ".ppm", ".pnm", ".pbm", ".pfm")
)
# Decided by content, not by name. PostScript is left out because Pillow would run Ghostscript on it.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

# Pillow warns above half of its limit. We refuse above the limit and accept everything below it.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Pillow warns of damaged EXIF and the like, which does not matter as long as the pixels can be decoded.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class ImageError(Exception):
    """An image that cannot be used; `kind` is "missing", "unreadable" or "too-large"."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)  # both arguments, so that it can be pickled between processes
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message


class Header(NamedTuple):
    """What the header of an image says."""

    size: tuple[int, int]  # width, height in pixels, after EXIF orientation
    depth: str | None  # a key of `samples.DEPTHS`; None for 8 bits or fewer
    several: bool  # whether it has several pages or frames, of which the first is taken


def describe_pixels(source: str | os.PathLike[str] | bytes) -> Header | None:
    """The header of an image, given by its uri or its bytes; None if unreadable. No pixels are decoded."""
    try:
        with _open(source if isinstance(source, bytes) else _source(os.fspath(source)), "image") as image:
            return Header(_upright_size(image), depth_of(image), _has_several(image))
    except ImageError:
        return None


def _has_several(image: ImageFile) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame does not matter
        return False


def read_size(uri: str | os.PathLike[str]) -> tuple[int, int] | None:
    """(width, height) in pixels after EXIF orientation, from the header alone; None if unreadable."""
    header = describe_pixels(uri)
    return header.size if header else None


def _upright_size(image: ImageFile) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def decode_rgb(uri: str, window: Window | None = None) -> np.ndarray:
    """Decode an image, given by its uri (see `uris`), to uint8 (H, W, 3).

    EXIF orientation is applied, transparency is dropped, and of several pages or frames the first is taken. An image of
    8 bits gives just its bytes. A deeper one is scaled: `window` holds the sample values that become 0 and 255; without
    it, the image's own samples decide (see `pixels`). Raises ImageError for anything that cannot be decoded to its end.
    """
    pixels = _decode(uri)
    if isinstance(pixels, Deep):
        try:
            pixels = to_bytes(pixels, window)
        except ValueError as error:
            raise ImageError("unreadable", f"{uri} cannot be decoded: {error}.") from error
        except MemoryError as error:
            raise ImageError("too-large", f"{uri} does not fit in memory.") from error
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels


def look_at(uri: str, window: Window | None = None) -> tuple[Range, Window] | None:
    """The range by which `decode_rgb` scales an image, and the ends of its samples; None for 8 bits.

    Raises ImageError.
    """
    pixels = _decode(uri)
    try:
        return (chosen_range(pixels, window), ends(pixels)) if isinstance(pixels, Deep) else None
    except ValueError as error:
        raise ImageError("unreadable", f"{uri} cannot be decoded: {error}.") from error


def _decode(uri: str) -> np.ndarray | Deep:
    """An image at its full depth: uint8 (H, W, 3), or the samples of a deeper one."""
    source = _source(uri)
    try:
        with _open(source, uri) as image:
            upright = _orientation(image) == 1
            if depth_of(image) is not None:
                return deep_samples(image, upright, lambda: _open(source, uri))
            image.load()
            return np.array((image if upright else ImageOps.exif_transpose(image)).convert("RGB"))
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("too-large", f"{uri} does not fit in memory.") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise ImageError("unreadable", f"{uri} cannot be decoded: {error}.") from error


def _source(uri: str) -> str | bytes:
    """What Pillow opens: the path of a local file, the bytes of another one."""
    if uris.is_path(uri):
        return uri
    try:
        return uris.read_bytes(uri)
    except FileNotFoundError as error:
        raise ImageError("missing", f"{uri} does not exist.") from error
    except OSError as error:
        raise ImageError("unreadable", f"{uri} cannot be read: {reason(error)}.") from error


def _open(source: str | bytes, name: str) -> ImageFile:
    try:
        image = _opened(source)
    except FileNotFoundError as error:
        raise ImageError("missing", f"{name} does not exist.") from error
    except Image.DecompressionBombError as error:
        raise ImageError("too-large", f"{name} has more than {MAX_PIXELS:,} pixels.") from error
    except Exception as error:
        raise ImageError("unreadable", f"{name} {_why_not(source, error)}.") from error
    if image.format == "TIFF" and image.tile and (image.tile[0].extents or ())[2:] != image.size:
        # Pillow maps a gray TIFF of one strip into memory by its size after rotation, which garbles it. It maps only
        # files whose name it knows.
        image.filename = ""
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise ImageError("too-large", f"{name} has {image.width} x {image.height} pixels, over {MAX_PIXELS:,}.")
    return image


def _opened(source: str | bytes) -> ImageFile:
    Image.init()  # so that OPEN holds what this Pillow reads: it raises KeyError for a format that it does not know
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        return Image.open(_file(source), formats=formats)
    except UnidentifiedImageError:
        if heif.format_of(_header(source)) != "HEIC" or "HEIF" in formats or not heif.can_read_heic():
            raise
        return Image.open(_file(source), formats=["HEIF"])


def _why_not(source: str | bytes, error: Exception) -> str:
    """Why a file could not be opened, as the end of a sentence."""
    header = _header(source) if isinstance(error, UnidentifiedImageError) else b""
    kind = heif.format_of(header)
    if kind is not None and not (kind == "HEIC" and heif.can_read_heic()):
        return heif.missing(kind)
    if header[:4] in (b"II*\0", b"MM\0*"):
        return (
            "is a TIFF of a kind that Pillow does not read: save it with 8 or 16 bits a sample, or as 32-bit floats, "
            "in gray or RGB"
        )
    if isinstance(error, UnidentifiedImageError):
        return "is not an image that can be read"
    return f"is not an image that can be read: {error}"


def _file(source: str | bytes) -> str | io.BytesIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _header(source: str | bytes) -> bytes:
    """The first bytes of a file; none if it cannot be read."""
    try:
        if isinstance(source, bytes):
            return source[: heif.HEADER]
        with open(source, "rb") as stream:
            return stream.read(heif.HEADER)
    except OSError:
        return b""


def _orientation(image: ImageFile) -> int:
    """EXIF orientation 1..8 of an image not decoded yet."""
    # Pillow rotates TIFFs by itself. In a PNG it would decode all pixels to look for EXIF after them.
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # the pixels are usable even if the EXIF is damaged
        return 1
    return value if value in range(1, 9) else 1
