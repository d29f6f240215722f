"""A folder of a run directory, on a disk or in an object store: it commits whole files and reads tables and JSON."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from irnet_ray.errors import UserError, reading, reason
from irnet_ray.storage import object_store
from irnet_ray.storage.locations import absolute, base_name, is_uri, join, parent

ROW_GROUP = 64


@dataclass(frozen=True)
class Folder:
    """A folder by its local path or URI (`s3://`, `gs://`), cheap to send to another process."""

    location: str

    def __post_init__(self) -> None:
        # Absolute from the start, because Ray's workers have another working directory.
        object.__setattr__(self, "location", absolute(self.location))

    @cached_property
    def _resolved(self) -> tuple[pafs.FileSystem, str]:
        if self.is_local:
            return pafs.LocalFileSystem(), self.location
        try:
            return object_store.connect(self.location)
        except OSError as error:
            raise UserError(f"{self.location} names no folder that can be used: {reason(error)}.") from error

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a mounted file system."""
        return not is_uri(self.location)

    @property
    def local_path(self) -> str:
        """Absolute path of a local folder."""
        return self._resolved[1]

    @property
    def filesystem(self) -> tuple[pafs.FileSystem, str]:
        """The file system and the path in it, for libraries that take both."""
        return self._resolved

    @property
    def name(self) -> str:
        """The last part of its location."""
        return base_name(self.location)

    @property
    def parent(self) -> Folder:
        """The folder that this one is in."""
        return Folder(parent(self.location))

    def __getstate__(self) -> dict[str, str]:
        return {"location": self.location}

    def folder(self, *names: str) -> Folder:
        """A folder below this one; nothing is created."""
        return Folder(join(self.location, *names))

    def exists(self, name: str) -> bool:
        """Whether a committed file of that name is there."""
        filesystem, path = self._resolved
        with self._reaching():
            return filesystem.get_file_info(f"{path}/{name}").type == pafs.FileType.File

    def files(self) -> list[str]:
        """Sorted names of the committed files directly in this folder; none if there is no such folder."""
        return sorted(self.times())

    def folders(self) -> list[str]:
        """Sorted names of the folders directly in this folder; none if there is no such folder."""
        return sorted(info.base_name for info in self._listing() if info.type == pafs.FileType.Directory)

    def times(self) -> dict[str, float]:
        """Names of the committed files directly in this folder, each with the time it was written, in seconds.

        The time comes from the clock of the file system or store, which may differ from this machine's.
        """
        return {
            info.base_name: (info.mtime_ns or 0) / 1e9
            for info in self._listing()
            if info.type == pafs.FileType.File and not info.base_name.startswith(".")
        }

    def _listing(self) -> list[pafs.FileInfo]:
        filesystem, path = self._resolved
        with self._reaching():
            found: list[pafs.FileInfo] = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True))
            return found

    def everything(self) -> list[pafs.FileInfo]:
        """Files and folders in this folder and below, with sizes and times; empty if there is no such folder."""
        filesystem, path = self._resolved
        with self._reaching():
            found: list[pafs.FileInfo] = filesystem.get_file_info(
                pafs.FileSelector(path, allow_not_found=True, recursive=True)
            )
            return found

    def size(self) -> int:
        """Bytes of all files in this folder and below; 0 if there is no such folder."""
        return sum(info.size for info in self.everything() if info.type == pafs.FileType.File)

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises FileNotFoundError."""
        filesystem, path = self._resolved

        def read() -> bytes:
            with filesystem.open_input_stream(f"{path}/{name}") as stream:
                return stream.read()

        with self._reaching():
            return object_store.patiently(read)

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn a failure of the store into a UserError about the store, so that no file seems damaged."""
        try:
            yield
        except OSError as error:
            if not object_store.is_out_of_reach(error):
                raise
            raise UserError(
                f"Cannot read {self.location}: {reason(error)}; mend that, then run the same command "
                "again: what is done stays done."
            ) from error

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        with reading(f"{self.location}/{name}"), self._reaching():
            yield

    def write(self, name: str, data: bytes) -> None:
        """Commit a file: readers see the old content or the whole new content, even after a power cut.

        Raises UserError where the file system refuses it.
        """
        with writing(self.location):
            self._write(name, data)

    def _write(self, name: str, data: bytes) -> None:
        filesystem, path = self._resolved
        if not self.is_local:
            object_store.put(filesystem, f"{path}/{name}", data)
            return
        os.makedirs(path, exist_ok=True)
        temporary = f"{path}/.{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, f"{path}/{name}")
        except BaseException:
            with contextlib.suppress(OSError):  # impossible if the file system has become read-only
                os.unlink(temporary)
            raise
        _sync_directory(path)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there. Raises UserError where the file system refuses it."""
        filesystem, path = self._resolved
        with writing(self.location), contextlib.suppress(FileNotFoundError):
            filesystem.delete_file(f"{path}/{name}")

    def delete(self) -> None:
        """Remove the folder and everything in it, if it is there. Raises UserError where the file system refuses it."""
        filesystem, path = self._resolved
        with writing(self.location):
            if filesystem.get_file_info(path).type == pafs.FileType.Directory:
                filesystem.delete_dir(path)

    def read_json(self, name: str) -> Any:
        """A JSON file's content, or None where there is none. Raises UserError for a damaged file."""
        if not self.exists(name):
            return None
        with self._reading(name):
            return json.loads(self.read(name))

    def read_object(self, name: str) -> dict[str, Any]:
        """A JSON object that is only shown; empty where there is none, or something else. Raises as `read_json`."""
        found = self.read_json(name)
        return found if isinstance(found, dict) else {}

    def write_json(self, name: str, content: Any) -> None:
        """Commit a JSON file."""
        self.write(name, (json.dumps(content, indent=2) + "\n").encode())

    def read_table(self, name: str, columns: list[str] | None = None, ids: list[str] | None = None) -> pa.Table:
        """A Parquet file's rows, or only those whose `image_id` is in `ids`. Raises UserError for a damaged file."""
        filesystem, path = self._resolved
        filters = None
        if ids is not None:
            # Rows are sorted by id, so the bounds skip whole row groups; "in" alone skips hardly any.
            bounds = [("image_id", ">=", min(ids)), ("image_id", "<=", max(ids))] if ids else []
            filters = [("image_id", "in", ids), *bounds]

        def read() -> pa.Table:
            return pq.read_table(
                f"{path}/{name}",
                columns=columns,
                filters=filters,
                filesystem=filesystem,
                page_checksum_verification=True,
            )

        with self._reading(name):
            return object_store.patiently(read)

    def write_table(self, name: str, table: pa.Table) -> None:
        """Commit a Parquet file, in row groups small enough to read single images."""
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", row_group_size=ROW_GROUP, write_page_checksum=True)
        self.write(name, buffer.getvalue())

    def stream_rows(self, name: str, columns: list[str]) -> Iterator[dict[str, Any]]:
        """A Parquet file's rows one by one, with one row group in memory. Raises UserError for a damaged file."""
        filesystem, path = self._resolved

        def start() -> pq.ParquetFile:
            return pq.ParquetFile(f"{path}/{name}", filesystem=filesystem, page_checksum_verification=True)

        with self._reading(name):
            file = object_store.patiently(start)
        with file:
            for group in range(file.num_row_groups):
                with self._reading(name):
                    rows = object_store.patiently(partial(file.read_row_group, group, columns=columns)).to_pylist()
                yield from rows

    def count_rows(self, names: Iterable[str] | None = None) -> int:
        """Number of rows in these Parquet files of this folder, or in all of them, from their footers.

        Raises UserError for a damaged file.
        """
        filesystem, path = self._resolved
        if names is None:
            names = [name for name in self.files() if name.endswith(".parquet")]
        rows = 0
        for name in names:
            with self._reading(name):
                read = partial(pq.read_metadata, f"{path}/{name}", filesystem=filesystem)
                rows += object_store.patiently(read).num_rows
        return rows


def _sync_directory(path: str) -> None:
    """Make renames in a directory survive a power cut, on file systems that can do so."""
    try:
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        # Some network file systems cannot sync a directory. The rename has happened, so the commit stands.
        if error.errno in _LOST_WRITES:
            raise


@contextlib.contextmanager
def writing(place: str) -> Iterator[None]:
    """Turn an OSError into one sentence that says why a place cannot be written to and what to do: UserError.

    A UserError ends the run. An OSError would count as a failure of the image that is just being written.
    """
    try:
        yield
    except OSError as error:
        why, remedy = _REMEDIES.get(error.errno or 0, (reason(error), "mend that"))
        raise UserError(
            f"Cannot write to {place}: {why}; {remedy}, then run the same command again: what is done stays done."
        ) from error


_LOST_WRITES = (errno.EIO, errno.ENOSPC, errno.EDQUOT)  # the rename itself may not reach the disk
_DENIED = ("permission is denied", "allow it to be written to")
_REMEDIES = {
    errno.ENOSPC: ("no space is left", "make room there"),
    errno.EDQUOT: ("the disk quota is used up", "make room there"),
    errno.EROFS: ("the file system is read-only", "mount it writable"),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
}
