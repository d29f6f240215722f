"""Files and folders, on a disk or in an object store, by their location: the only place that opens them.

    /data/photos                          an absolute local path, as it is
    s3://bucket/photos?region=eu-west-1   a URI that pyarrow.fs knows: s3, gs, hdfs, fsspec+<protocol>, ...

In a URI '%', '?' and '#' of a key are percent-encoded; what follows '?' are the store's options, and stays with every
location below it.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import PurePosixPath
from typing import BinaryIO, Literal
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from irnet_ray.errors import UserError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_MARKS = re.compile(r"[%?#\x00-\x1f]")  # in a key: what a URI takes for something else, or loses


def is_uri(text: str) -> bool:
    """Whether a location is a URI and not a local path."""
    return _SCHEME.match(text) is not None


def absolute(location: str | os.PathLike[str]) -> str:
    """A location that means the same in every process: an absolute path or a URI.

    Raises UserError for a URI with a password in it, which would be written into every table.
    """
    text = os.fspath(location)
    if not is_uri(text):
        return os.path.abspath(text)
    if "@" in text.split("?")[0]:
        authority = urlsplit(text).netloc
        if ":" in authority.rpartition("@")[0]:
            raise UserError(
                f"The URI of {authority.rpartition('@')[2]} holds a password, which the tables would show: "
                "leave it out, and give it by the store's own environment variables or files."
            )
    if text.startswith("file://"):
        return os.path.abspath(unquote(urlsplit(text).path))
    head, mark, options = text.partition("?")
    return head.rstrip("/") + mark + options


def join(location: str, name: str) -> str:
    """The location of a file or folder below a folder; `name` has '/' between its parts."""
    if not is_uri(location):
        return f"{location.rstrip('/')}/{name}"
    head, mark, options = location.partition("?")
    name = _MARKS.sub(lambda mark: f"%{ord(mark[0]):02X}", name)
    return f"{head.rstrip('/')}/{name}{mark}{options}"


def parent(location: str) -> str:
    """The location of the folder that a file or folder is in."""
    if not is_uri(location):
        return os.path.dirname(location)
    head, mark, options = location.partition("?")
    above, _, _ = head.rpartition("/")
    return (head if above.endswith(("/", ":")) else above) + mark + options


def base_name(location: str) -> str:
    """The last part of a location."""
    if not is_uri(location):
        return os.path.basename(location)
    return unquote(urlsplit(location).path).rpartition("/")[2]


def suffix(location: str) -> str:
    """The extension of a location in small letters, with its dot."""
    return PurePosixPath(base_name(location)).suffix.lower()


def kind(location: str) -> Literal["file", "folder"] | None:
    """What lies at a location; None for nothing. Raises UserError where that cannot be known."""
    try:
        if not is_uri(location):
            mode = os.stat(location).st_mode
            return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else None
        filesystem, path = _resolve(location)
        found = filesystem.get_file_info(path).type
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, pa.ArrowException, ValueError, ImportError) as error:
        if getattr(error, "errno", None) == errno.ENAMETOOLONG:  # a name longer than a file system knows
            return None
        raise UserError(f"{location} cannot be read: {reason(error)}; check its name and permissions.") from error
    return {pafs.FileType.File: "file", pafs.FileType.Directory: "folder"}.get(found)  # type: ignore[return-value]


def is_file(location: str) -> bool:
    """Whether there is a file, or a link to one."""
    return kind(location) == "file"


def open_binary(location: str) -> BinaryIO:
    """A file open for reading, seekable. Raises OSError, FileNotFoundError among them."""
    if not is_uri(location):
        return open(location, "rb")
    try:
        filesystem, path = _resolve(location)
        # pyarrow's file has no buffer of its own: without one each line of a text would be a request.
        return io.BufferedReader(filesystem.open_input_file(path), 1 << 20)
    except (pa.ArrowException, ValueError, ImportError) as error:
        raise OSError(reason(error)) from error


def stamp(location: str) -> tuple[int, int]:
    """Time of the last change in nanoseconds and size in bytes: another one tells another content. Raises OSError."""
    if not is_uri(location):
        status = os.stat(location)
        return status.st_mtime_ns, status.st_size
    filesystem, path = _resolve(location)
    info = filesystem.get_file_info(path)
    if info.type != pafs.FileType.File:
        raise FileNotFoundError(2, "No such file", location)
    return info.mtime_ns or 0, info.size or 0


def folders(location: str) -> list[str]:
    """Sorted names of the folders directly in a folder. Raises UserError where it cannot be listed."""
    try:
        if not is_uri(location):
            with os.scandir(location) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        filesystem, path = _resolve(location)
        infos = filesystem.get_file_info(pafs.FileSelector(path))
        return sorted(info.base_name for info in infos if info.type == pafs.FileType.Directory)
    except (OSError, pa.ArrowException, ImportError) as error:
        raise UserError(f"{location} cannot be read: {reason(error)}; check its permissions.") from error


def walk(folder: str, lost: list[str] | None = None) -> Iterator[str]:
    """Paths below a folder, with '/', of all its files, each folder listed once; what is hidden is left out.

    Links are followed; those that lead nowhere are added to `lost`. Pipes and devices are no files. Raises UserError
    for a folder that cannot be listed.
    """
    try:
        yield from _walk_store(folder) if is_uri(folder) else _walk_disk(folder, [] if lost is None else lost)
    except (OSError, pa.ArrowException, ImportError) as error:
        raise UserError(f"{folder} cannot be read: {reason(error)}; check its permissions.") from error


def _walk_disk(folder: str, lost: list[str]) -> Iterator[str]:
    visited: set[str] = set()
    pending = [""]
    while pending:
        below = pending.pop()
        real = os.path.realpath(os.path.join(folder, below))
        if real in visited:  # a link back into a folder already walked
            continue
        visited.add(real)
        folders = []
        with os.scandir(os.path.join(folder, below)) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                # The listing itself knows what is no link: no further look at the disk for a million files.
                if entry.is_dir():
                    folders.append(f"{below}{name}/")
                elif entry.is_file():
                    yield below + name
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    lost.append(below + name)
        pending += sorted(folders, reverse=True)


def _walk_store(folder: str) -> Iterator[str]:
    filesystem, path = _resolve(folder)
    prefix = path.rstrip("/") + "/"
    for info in filesystem.get_file_info(pafs.FileSelector(path, recursive=True)):
        name = info.path.removeprefix(prefix)
        if info.type == pafs.FileType.File and not name.startswith(".") and "/." not in name:
            yield name


def reason(error: BaseException) -> str:
    """What an operating system or a store says of an error, in one line."""
    said = getattr(error, "strerror", None) or str(error)
    return (said.splitlines() or [type(error).__name__])[0].rstrip(".")


def _resolve(location: str) -> tuple[pafs.FileSystem, str]:
    parts = urlsplit(location)
    filesystem, root = _store(f"{parts.scheme}://{parts.netloc}" + (f"?{parts.query}" if parts.query else ""))
    return filesystem, root.rstrip("/") + unquote(parts.path)


@lru_cache(maxsize=64)
def _store(uri: str) -> tuple[pafs.FileSystem, str]:
    # Connecting costs more than reading: once for each bucket and process.
    return pafs.FileSystem.from_uri(uri)
