"""Small images for tests of what lists them."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from PIL import Image


def png(number: int = 0) -> bytes:
    """A PNG of its own size and colour: 20 + number pixels wide, 10 high."""
    stream = io.BytesIO()
    Image.new("RGB", (20 + number, 10), (number % 256, 100, 200)).save(stream, "PNG")
    return stream.getvalue()


def write(folder: Path, *names: str) -> Path:
    """Images in a folder, each with another width, in the order of the names."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(number))
    return folder


def tagged(folder: Path, files: list[str], tags: str | None) -> Path:
    """Images that are 20, 21, ... pixels wide, and a `tags.csv` with the rows of `tags`; None for no file."""
    for number, name in enumerate(files):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20 + number, 10)).save(path)
    if tags is not None:
        (folder / "tags.csv").write_text("image,tags\n" + tags)
    return folder


def digest(data: bytes) -> str:
    """The column `content` of some bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
