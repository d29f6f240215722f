"""Which files are images: those with a usual extension, and of the others those whose bytes say so."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pyarrow as pa

from irnet_ray.inputs import parallel
from irnet_ray.inputs.decode import EXTENSIONS, describe_pixels, read_size
from irnet_ray.storage.files import open_binary
from irnet_ray.storage.locations import join

HEAD = 32  # bytes at the beginning of a file that tell its format

_OTHERS = """
7z avi bz2 cfg cls csv db doc docx eps feather gz h5 hdf5 htm html ini ipynb json jsonl lock log mat md mdb mkv mov mp3
mp4 ndjson npy npz onnx parquet pdf pickle pkl ps pt pth py rar record rst safetensors sh sqlite svg tar tfrecord tgz
toml tsv txt wav webm xls xlsx xml xz yaml yml zip zst
"""
# Extensions of files that are never opened to see whether they are images.
OTHERS = frozenset(f".{name}" for name in _OTHERS.split())

_MAGIC = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"II*\0",  # TIFF
    b"MM\0*",
    b"II+\0",  # TIFF with 64-bit offsets
    b"MM\0+",
    b"\0\0\0\x0cjP  \r\n\x87\n",  # JPEG 2000
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cJXL \r\n\x87\n",  # JPEG XL
    b"\xff\x0a",
)
_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def is_image_name(name: str) -> bool:
    """Whether a file has a usual extension of images."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def may_be_image(name: str) -> bool:
    """Whether only the bytes of a file can tell: it has an unusual extension, or none."""
    extension = os.path.splitext(name)[1].lower()
    return extension not in EXTENSIONS and extension not in OTHERS


def is_image_head(head: bytes) -> bool:
    """Whether a file that begins with these bytes, `HEAD` of them, is a photo. Pillow may know more formats."""
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[4:8] == b"ftyp":
        return head[8:12] in _BRANDS or any(head[i : i + 4] in _BRANDS for i in range(16, HEAD, 4))
    if head[:2] == b"BM":
        return head[6:10] == bytes(4)  # two reserved words; text may begin with BM too
    return head.startswith(_MAGIC)


def images(folder: str, names: Sequence[str]) -> list[str]:
    """Those of the files below a folder that are images, in their order.

    Files with a usual extension are images whatever they hold: one that cannot be decoded becomes a row of errors.
    """
    unsure = [name for name in names if may_be_image(name)]
    found = parallel.each(_is_image_file, [join(folder, name) for name in unsure])
    by_content = {name for name, is_image in zip(unsure, found, strict=True) if is_image}
    return [name for name in names if is_image_name(name) or name in by_content]


def is_image_bytes(data: bytes) -> bool:
    """Whether the bytes of a whole file are an image."""
    return is_image_head(data[:HEAD]) or describe_pixels(data) is not None


def _is_image_file(location: str) -> bool:
    try:
        with open_binary(location) as stream:
            head = stream.read(HEAD)
    except (OSError, ValueError, pa.ArrowException):
        return False
    return is_image_head(head) or (len(head) == HEAD and read_size(location) is not None)
