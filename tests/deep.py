"""Files of more than 8 bits a sample, which Pillow cannot write: PNG and TIFF, byte by byte."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

_KINDS = {"u": 1, "i": 2, "f": 3}


def write_png(path: Path, samples: np.ndarray) -> Path:
    """Write uint16 (H, W) or (H, W, C) as a PNG: gray, gray with alpha, RGB or RGBA by C."""
    height, width, *channels = samples.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels[0] if channels else 1]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(content)
    return path


def write_tiff(
    path: Path,
    samples: np.ndarray,
    order: str = "<",
    deflated: bool = False,
    planes: bool = False,
    alpha: int | None = None,
    white_is_zero: bool = False,
    no_data: str | None = None,
    pages: int = 1,
) -> Path:
    """Write (H, W) or (H, W, C) of any dtype as a TIFF of one strip a plane.

    `alpha` is TIFF's ExtraSamples of the fourth channel: 0 unknown, 1 multiplied into the colours, 2 apart.
    """
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    data = samples.astype(samples.dtype.newbyteorder(order))
    strips = [data[..., channel].tobytes() for channel in range(channels)] if planes else [data.tobytes()]
    strips = [zlib.compress(strip) for strip in strips] if deflated else strips
    bits = [samples.dtype.itemsize * 8] * channels
    content = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 8)
    for page in range(pages):
        tags: list[tuple[int, int, list[int] | bytes]] = [
            (256, 4, [width]),
            (257, 4, [height]),
            (258, 3, bits),
            (259, 3, [8 if deflated else 1]),
            (262, 3, [2 if channels > 2 else 0 if white_is_zero else 1]),
            (273, 4, [0] * len(strips)),
            (277, 3, [channels]),
            (278, 4, [height]),
            (279, 4, [len(strip) for strip in strips]),
            (284, 3, [2 if planes else 1]),
            *([(338, 3, [alpha])] if alpha is not None else []),
            (339, 3, [_KINDS[samples.dtype.kind]] * channels),
            *([(42113, 2, no_data.encode() + b"\0")] if no_data is not None else []),
        ]
        content = _page(content, order, tags, strips, last=page == pages - 1)
    path.write_bytes(content)
    return path


def _page(
    content: bytes, order: str, tags: list[tuple[int, int, list[int] | bytes]], strips: list[bytes], last: bool
) -> bytes:
    """A page appended, whose directory comes first, then long values, then strips."""
    code = {2: "s", 3: "H", 4: "I"}
    at = len(content) + 2 + 12 * len(tags) + 4
    values = {
        tag: value if isinstance(value, bytes) else struct.pack(f"{order}{len(value)}{code[kind]}", *value)
        for tag, kind, value in tags
    }
    places = {tag: 0 for tag in values}
    for tag, value in values.items():
        if len(value) > 4:
            places[tag], at = at, at + len(value) + len(value) % 2
    starts = [at + sum(map(len, strips[:number])) for number in range(len(strips))]
    values[273] = struct.pack(f"{order}{len(starts)}I", *starts)
    end = at + sum(map(len, strips))
    directory = struct.pack(order + "H", len(tags))
    for tag, kind, value in tags:
        inside = struct.pack(order + "I", places[tag]) if places[tag] else values[tag].ljust(4, b"\0")
        directory += struct.pack(order + "HHI", tag, kind, len(value)) + inside
    directory += struct.pack(order + "I", 0 if last else end + end % 2)
    long = b"".join(value + b"\0" * (len(value) % 2) for tag, value in values.items() if places[tag])
    page = content + directory + long + b"".join(strips)
    return page + b"\0" * (len(page) % 2)
