"""Reading files and folders by location, on a disk or in an object store. Inputs are opened nowhere else."""

from __future__ import annotations

import errno
import io
import os
import stat
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.fs as pafs

from irnet_ray.errors import UserError, reason
from irnet_ray.storage import archives, object_store
from irnet_ray.storage.locations import is_uri
from irnet_ray.storage.object_store import patiently

BUFFER = 1 << 20  # bytes per request at least; without a buffer each line of a text would be a request

_FAILURES = (OSError, pa.ArrowException, ValueError)  # ValueError: a null character in a local name


def kind(location: str) -> Literal["file", "folder"] | None:
    """What is at a location; None for nothing, and for pipes and devices.

    Raises UserError where that cannot be known.
    """
    try:
        if not is_uri(location):
            mode = os.stat(location).st_mode
            return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else None
        filesystem, path = _connect(location)
        found = filesystem.get_file_info(path).type
    except (FileNotFoundError, NotADirectoryError):
        return None
    except _FAILURES as error:
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:  # no file can have this name
            return None
        raise UserError(f"{location} cannot be read: {reason(error)}; check its name and permissions.") from error
    return {pafs.FileType.File: "file", pafs.FileType.Directory: "folder"}.get(found)  # type: ignore[return-value]


def _connect(location: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a URI, of a store or inside an archive, and the path in it. Raises OSError."""
    if archives.is_archived(location):
        return archives.connect(location, open_binary, stamp)
    return object_store.connect(location)


def is_file(location: str) -> bool:
    """Whether a file, or a link to one, is at a location. Raises UserError where that cannot be known."""
    return kind(location) == "file"


def open_binary(location: str) -> BinaryIO:
    """A file opened for reading, seekable. Raises OSError, for a missing file FileNotFoundError."""
    if not is_uri(location):
        return open(location, "rb")
    try:
        filesystem, path = _connect(location)
        return io.BufferedReader(_StoredFile(filesystem.open_input_file(path)), BUFFER)
    except (pa.ArrowException, ValueError) as error:
        raise OSError(reason(error)) from error


class _StoredFile(io.RawIOBase):
    """An object of a store as a raw stream of Python, read with the store's retries."""

    def __init__(self, file: pa.NativeFile) -> None:
        self._file = file
        self._size = file.size()
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "Seek before the beginning of the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        # In one request; Python's own version asks for 8 KiB at a time.
        return self._read(self._size)

    def _read(self, most: int) -> bytes:
        start, count = self._position, max(0, min(most, self._size - self._position))
        data: bytes = patiently(lambda: self._file.read_at(count, start)) if count else b""
        self._position += len(data)
        return data

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def stamp(location: str) -> tuple[int, int]:
    """Time of the last change in nanoseconds, and size in bytes. A different stamp means different content.

    Raises OSError.
    """
    if not is_uri(location):
        status = os.stat(location)
        return status.st_mtime_ns, status.st_size
    filesystem, path = _connect(location)
    info = filesystem.get_file_info(path)
    if info.type != pafs.FileType.File:
        raise FileNotFoundError(errno.ENOENT, "No such file", location)
    return info.mtime_ns or 0, info.size or 0


def folders(location: str) -> list[str]:
    """Sorted names of the folders directly in a folder. Raises UserError for a folder that cannot be listed."""
    return _names(location, pafs.FileType.Directory)


def file_names(location: str) -> list[str]:
    """Sorted names of the files directly in a folder, on the same terms."""
    return _names(location, pafs.FileType.File)


def _names(location: str, wanted: pafs.FileType) -> list[str]:
    try:
        if not is_uri(location):
            with os.scandir(location) as entries:
                is_folder = wanted == pafs.FileType.Directory
                return sorted(e.name for e in entries if (e.is_dir() if is_folder else e.is_file()))
        filesystem, path = _connect(location)
        infos = filesystem.get_file_info(pafs.FileSelector(path))
        return sorted(info.base_name for info in infos if info.type == wanted)
    except _FAILURES as error:
        raise UserError(f"{location} cannot be read: {reason(error)}; {advice(error)}.") from error


def uncompressed(location: str) -> str:
    """This machine's plain copy of a compressed tar; of other files, their own location.

    Raises OSError for one that cannot be uncompressed.
    """
    return archives.plain_tar(location, open_binary, stamp)


def inside_archive(location: str) -> str:
    """The folder that a .zip or .tar holds, plain or compressed. Raises UserError for one that cannot be read."""
    found = archives.inside(location)
    if found is None:
        raise ValueError(f"{location} is no archive")
    return archives.only_folder(found, folders, file_names)


def advice(error: BaseException) -> str:
    """What to do about a file that cannot be read."""
    return "write it again" if isinstance(error, archives.DamagedError) else "check its permissions"


@dataclass
class Walked:
    """Paths below a folder, with '/' between their parts, not sorted. Each path is in one of the lists."""

    files: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)  # files whose name begins with a dot, or that of a folder above
    lost: list[str] = field(default_factory=list)  # links that lead nowhere
    odd: list[str] = field(default_factory=list)  # pipes and devices


def walk(folder: str) -> Walked:
    """All that is below a folder. Links are followed, and each folder is listed once.

    Raises UserError for a folder that cannot be listed.
    """
    found = Walked()
    try:
        _walk_store(folder, found) if is_uri(folder) else _walk_disk(folder, found)
    except _FAILURES as error:
        raise UserError(f"{folder} cannot be read: {reason(error)}; {advice(error)}.") from error
    return found


def _walk_disk(folder: str, found: Walked) -> None:
    visited: set[str] = set()
    pending = [""]
    while pending:
        below = pending.pop()
        real = os.path.realpath(os.path.join(folder, below))
        if real in visited:  # a link back into a folder that was listed before
            continue
        visited.add(real)
        folders = []
        with os.scandir(os.path.join(folder, below)) as entries:
            for entry in entries:
                path = below + entry.name
                # The listing itself tells files, folders and links apart: no further system call per file.
                if entry.is_dir():
                    folders.append(f"{path}/")
                elif _is_hidden(path):
                    found.hidden.append(path)
                elif entry.is_file():
                    found.files.append(path)
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    found.lost.append(path)
                else:
                    found.odd.append(path)
        # Hidden folders come last: a folder that a link in one of them leads to is listed by its visible name.
        pending += sorted(folders, key=lambda name: (_is_hidden(name), name), reverse=True)


def _walk_store(folder: str, found: Walked) -> None:
    filesystem, path = _connect(folder)
    prefix = f"{path}/" if path else ""
    for info in filesystem.get_file_info(pafs.FileSelector(path, recursive=True)):
        if info.type == pafs.FileType.File:
            name = info.path.removeprefix(prefix)
            (found.hidden if _is_hidden(name) else found.files).append(name)


def _is_hidden(path: str) -> bool:
    return path.startswith(".") or "/." in path
