"""What the uri of an image means, and how its bytes are read.

    /data/a.jpg, s3://bucket/a.jpg                    a file, see `storage.locations`
    tar+file:///data/a.tar#1536:20345                 20,345 bytes of a tar, from byte 1,536 on
    tar+s3://bucket/a.tar#1536:20345                  of a compressed tar, bytes of its uncompressed copy
    parquet+file:///data/a.parquet#image.bytes:17     row 17, counted from 0, of a column of a Parquet file

A name inside a tar or a Parquet file is never part of a path.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections import OrderedDict
from functools import lru_cache
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from irnet_ray.errors import reason
from irnet_ray.storage.files import open_binary, stamp, uncompressed
from irnet_ray.storage.locations import is_uri

# Columns of Parquet files that may hold images, as bytes or as a struct with a member `bytes`.
COLUMNS = ("bytes", *(f"{name}{inside}" for name in ("image", "img", "photo", "picture") for inside in ("", ".bytes")))
KEPT_BYTES = 256 << 20  # of the row groups that each process read last

_TAR = re.compile(r"tar\+(.*)#(\d+):(\d+)", re.DOTALL)
_PARQUET = re.compile(rf"parquet\+(.*)#({'|'.join(map(re.escape, COLUMNS))}):(\d+)", re.DOTALL)


def tar_uri(location: str, offset: int, size: int) -> str:
    """The uri of `size` bytes of a tar from `offset` on."""
    return f"tar+{_with_scheme(location)}#{offset}:{size}"


def parquet_uri(location: str, column: str, row: int) -> str:
    """The uri of one value, rows counted from 0, of one of `COLUMNS`."""
    return f"parquet+{_with_scheme(location)}#{column}:{row}"


def is_path(uri: str) -> bool:
    """Whether a uri is a plain local path."""
    return not is_uri(uri)


def read_bytes(uri: str) -> bytes:
    """The encoded bytes of an image. Raises OSError, for a missing file FileNotFoundError."""
    if found := _TAR.fullmatch(uri):
        location, offset, size = _without_scheme(found[1]), int(found[2]), int(found[3])
        with open_binary(uncompressed(location)) as stream:
            stream.seek(offset)
            data = stream.read(size)
        if len(data) < size:
            raise OSError(f"{location} ends before byte {offset + size:,}")
        return data
    if found := _PARQUET.fullmatch(uri):
        return _parquet_value(_without_scheme(found[1]), found[2], int(found[3]))
    with open_binary(uri) as stream:
        return stream.read()


def _with_scheme(location: str) -> str:
    return location if is_uri(location) else f"file://{location}"


def _without_scheme(location: str) -> str:
    # Not percent-decoded, because `_with_scheme` does not encode a local path.
    return location.removeprefix("file://")


class _RowGroups:
    """A cache of the row groups read last: the next image is often in the same group."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Any, ...], pa.ChunkedArray] = OrderedDict()
        self._bytes = 0

    def value(self, location: str, column: str, row: int) -> bytes | None:
        """One value. Raises IndexError if the file has no such row."""
        # The key contains the time of the last change, so that a rewritten file is read again.
        file = (location, *stamp(location))
        footer, starts = _footer(*file)
        if row >= starts[-1]:
            raise IndexError(row)
        group = bisect_right(starts, row) - 1
        key = (*file, column, group)
        with self._lock:
            values = self._kept.get(key)
            if values is not None:
                self._kept.move_to_end(key)
        if values is None:
            values = _read_group(location, footer, column, group)
            self._keep(key, values)
        value: bytes | None = values[row - starts[group]].as_py()
        return value

    def _keep(self, key: tuple[Any, ...], values: pa.ChunkedArray) -> None:
        with self._lock:
            if key not in self._kept:
                self._bytes += values.nbytes
            self._kept[key] = values
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes


@lru_cache(maxsize=64)
def _footer(location: str, _changed: int, _size: int) -> tuple[pq.FileMetaData, list[int]]:
    """The footer of a Parquet file, and the first row of each row group, with the number of all rows at the end."""
    with open_binary(location) as stream:
        footer = pq.read_metadata(stream)
    return footer, list(accumulate((footer.row_group(i).num_rows for i in range(footer.num_row_groups)), initial=0))


def _read_group(location: str, footer: pq.FileMetaData, column: str, group: int) -> pa.ChunkedArray:
    with open_binary(location) as stream, pq.ParquetFile(stream, metadata=footer) as file:
        values = file.read_row_group(group, columns=[column], use_threads=False).column(0)
    if column.endswith(".bytes"):
        values = pa.chunked_array([chunk.field("bytes") for chunk in values.chunks])
    return values


_row_groups = _RowGroups()


def _parquet_value(location: str, column: str, row: int) -> bytes:
    try:
        value = _row_groups.value(location, column, row)
    except (pa.ArrowException, KeyError) as error:
        raise OSError(f"{location} cannot be read as Parquet: {reason(error)}") from error
    except IndexError as error:
        raise OSError(f"{location} has no row {row}") from error
    if not isinstance(value, bytes):
        raise OSError(f"{location} holds no bytes in column {column} of row {row}")
    return value
