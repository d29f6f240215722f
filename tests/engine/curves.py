"""Read TensorBoard's event files."""

from __future__ import annotations

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


def read_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar of a folder's files, in the order of the files' names: tag ▶ (step, value)."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.iterdir()):
        for event in read_events(file):
            for value in event.summary.value:
                curves.setdefault(value.tag, []).append((event.step, value.simple_value))
    return curves


def read_events(file: Path) -> list[Event]:
    """Every event of a file. A record is its length, 8 bytes, a checksum of 4, the content, and a checksum of 4."""
    data, events, place = file.read_bytes(), [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        record = data[place + 12 : place + 12 + length]
        assert len(record) == length
        events.append(Event.FromString(record))
        place += length + 16
    return events
