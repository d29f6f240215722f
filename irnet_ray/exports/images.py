"""The image files of an export: links to the labeled files, named as readers expect, or upright copies."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from irnet_ray.errors import UserError

if TYPE_CHECKING:
    from irnet_ray.exports.labels import Counts

ORIENTATION = 0x0112  # EXIF's tag; 1 is upright

# IMG_FORMATS of ultralytics, which reads a file only if both its extension and the format of its content are known.
YOLO_EXTENSIONS = frozenset(
    {".avif", ".bmp", ".dng", ".heic", ".heif", ".jp2", ".jpeg", ".jpg", ".mpo", ".png", ".tif", ".tiff", ".webp"}
)
# Formats by Pillow's names, with the extension for files that are named otherwise.
YOLO_FORMATS = {
    "AVIF": ".avif",
    "BMP": ".bmp",
    "HEIF": ".heic",
    "JPEG": ".jpg",
    "JPEG2000": ".jp2",
    "MPO": ".jpg",
    "PNG": ".png",
    "TIFF": ".tif",
    "WEBP": ".webp",
}

# How upright copies are written, by the format of the original: Pillow's name, extension, options. PNG for the others.
_COPIES: dict[str | None, tuple[str, str, dict[str, int]]] = {
    "JPEG": ("JPEG", ".jpg", {"quality": 95, "subsampling": 0}),
    "MPO": ("JPEG", ".jpg", {"quality": 95, "subsampling": 0}),
    "TIFF": ("TIFF", ".tif", {}),
}
_COPY: tuple[str, str, dict[str, int]] = ("PNG", ".png", {})


@dataclass(frozen=True)
class Seen:
    """What the header of an image file says."""

    exists: bool
    format: str | None  # as Pillow calls it; None if Pillow does not know it
    turned: bool = False  # EXIF says that its pixels are not upright


def look(uri: str) -> Seen:
    """Read the header of a local file. It need not exist, and need not be an image."""
    try:
        with Image.open(uri) as image:
            # Pillow would decode a whole PNG to look for EXIF behind the pixels; labels do not heed it there.
            late = image.format == "PNG" and "exif" not in image.info
            return Seen(True, image.format, not late and image.getexif().get(ORIENTATION, 1) in range(2, 9))
    except Exception:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error and more
        return Seen(os.path.exists(uri), None)


def yolo_extension(uri: str, seen: Seen) -> str | None:
    """The extension under which YOLO's readers open an image, in lower case; None if they do not open its format.

    A file that Pillow does not know, or that is not there, is judged by its name.
    """
    own = os.path.splitext(uri)[1].lower()
    if seen.turned:
        return _COPIES.get(seen.format, _COPY)[1]
    if own in YOLO_EXTENSIONS and (seen.format is None or seen.format in YOLO_FORMATS):
        return own
    return None if seen.format is None else YOLO_FORMATS.get(seen.format)


def place_image(uri: str, seen: Seen, place: Path, counts: Counts) -> None:
    """Make a symbolic link to an image, or an upright copy of one that EXIF turns, and count it.

    Masks match upright images, and many readers do not heed EXIF: a link would put the masks on the wrong pixels.

    Raises:
        UserError: the pixels of an image that must be copied cannot be read.
    """
    counts.missing += not seen.exists
    if not seen.turned:
        os.symlink(os.path.abspath(uri), place)
        return
    counts.turned += 1
    format, _, options = _COPIES.get(seen.format, _COPY)
    # From an open file: given a path, Pillow 13 maps an uncompressed TIFF into memory and mangles it as it turns it.
    with open(uri, "rb") as file, Image.open(file) as image:
        try:
            image.load()  # Pillow turns a TIFF while it loads, which exif_transpose must know
            upright = ImageOps.exif_transpose(image)
        except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and more
            raise UserError(
                f"{uri} cannot be read to be turned upright, and has changed since it was labeled."
            ) from error
        upright.save(place, format, **options)
