"""Decodes images to RGB arrays, upright, as people see them."""

from __future__ import annotations

import io
import os
import warnings

import numpy as np
from PIL import Image, ImageOps

from irnet_ray.errors import reason
from irnet_ray.inputs import uris
from irnet_ray.masks import MAX_PIXELS

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"})
# Decided by content, not by name. PostScript is left out because Pillow would run Ghostscript on it.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")

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


def read_size(uri: str | os.PathLike[str]) -> tuple[int, int] | None:
    """(width, height) in pixels after EXIF orientation, from the header alone; None if unreadable."""
    try:
        with _open(os.fspath(uri)) as image:
            return _upright_size(image)
    except ImageError:
        return None


def size_of_bytes(data: bytes) -> tuple[int, int] | None:
    """Like `read_size`, for the bytes of an image."""
    try:
        with _open_file(io.BytesIO(data), "image") as image:
            return _upright_size(image)
    except ImageError:
        return None


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def decode_rgb(uri: str) -> np.ndarray:
    """Decode an image, given by its uri (see `uris`), to uint8 (H, W, 3).

    EXIF orientation is applied, transparency is dropped, and of several frames the first is taken. 16-bit samples keep
    their upper 8 bits. Raises ImageError for anything that cannot be decoded to its end.
    """
    try:
        with _open(uri) as image:
            upright = _orientation(image) == 1
            image.load()
            rgb = _to_rgb(image if upright else ImageOps.exif_transpose(image))
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("too-large", f"{uri} does not fit in memory.") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
        raise ImageError("unreadable", f"{uri} cannot be decoded: {error}.") from error
    return rgb


def _open(uri: str) -> Image.Image:
    if uris.is_path(uri):
        return _open_file(uri, uri)
    try:
        return _open_file(io.BytesIO(uris.read_bytes(uri)), uri)
    except FileNotFoundError as error:
        raise ImageError("missing", f"{uri} does not exist.") from error
    except OSError as error:
        raise ImageError("unreadable", f"{uri} cannot be read: {reason(error)}.") from error


def _open_file(file: str | io.BytesIO, name: str) -> Image.Image:
    try:
        image = Image.open(file, formats=FORMATS)
    except FileNotFoundError as error:
        raise ImageError("missing", f"{name} does not exist.") from error
    except Image.DecompressionBombError as error:
        raise ImageError("too-large", f"{name} has more than {MAX_PIXELS:,} pixels.") from error
    except Exception as error:
        raise ImageError("unreadable", f"{name} is not an image that can be read: {error}.") from error
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise ImageError("too-large", f"{name} has {image.width} x {image.height} pixels, over {MAX_PIXELS:,}.")
    return image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8 of an image not decoded yet."""
    # Pillow rotates TIFFs by itself. In a PNG it would decode all pixels to look for EXIF after them.
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # the pixels are usable even if the EXIF is damaged
        return 1
    return value if value in range(1, 9) else 1


def _to_rgb(image: Image.Image) -> np.ndarray:
    """Uint8 (H, W, 3) of a decoded image of any mode."""
    if image.mode[0] in "IF":  # 16- and 32-bit gray, which Pillow would clip at 255
        gray = np.asarray(image, dtype=np.float64)
        if image.mode.startswith("I;16") or (image.mode == "I" and gray.max(initial=0) > 255):
            gray = gray // 256
        elif image.mode == "F" and gray.max(initial=0) <= 1:
            gray = gray * 255
        gray = np.nan_to_num(np.clip(gray, 0, 255))
        return np.repeat(gray.astype(np.uint8)[:, :, None], 3, axis=2)
    return np.array(image.convert("RGB"))
