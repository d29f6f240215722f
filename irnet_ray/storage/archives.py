"""Folders inside archives: `zip+file:///data/photos.zip!/cat/1.jpg` is a file of a zip, read where it lies.

Nothing is unpacked from a zip or a plain tar, so the name of an entry is data and never a path on the disk. Nothing can
point into a compressed tar: each machine that reads from it uncompresses it once, as a whole, into the user's cache.
Locations name the tar itself, never the copy, which other machines do not have.
"""

from __future__ import annotations

import bz2
import contextlib
import fcntl
import gzip
import hashlib
import lzma
import os
import re
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs

from irnet_ray.errors import reason
from irnet_ray.storage.locations import base_name, encoded, is_uri, join

MOST = 2 << 30  # bytes of an entry, which is read whole
TARS = (".tar",)
COMPRESSED_TARS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")

_ARCHIVE = re.compile(r"(zip|tar)\+(.*?)!(/.*)?", re.DOTALL)
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)
_ENCRYPTED = 1  # bit 0 of an entry's flags (APPNOTE 4.4.4)
_APPLE = "__MACOSX/"  # what macOS adds to a zip about the files in it

Opener = Callable[[str], BinaryIO]


class DamagedError(OSError):
    """The content of an archive is broken."""


def is_archived(location: str) -> bool:
    """Whether a location is inside an archive."""
    return location.startswith(("zip+", "tar+")) and "#" not in location and _ARCHIVE.fullmatch(location) is not None


def inside(location: str) -> str | None:
    """The location of the folder in a .zip or a tar, plain or compressed; None for other files."""
    name = base_name(location).lower()
    kind = "zip" if name.endswith(".zip") else "tar" if name.endswith((*TARS, *COMPRESSED_TARS)) else None
    if kind is None:
        return None
    if not is_uri(location):
        return f"{kind}+file://{encoded(location)}!"
    head, mark, options = location.partition("?")
    return f"{kind}+{head}!{mark}{options}"


def connect(location: str, opener: Opener, stamp: Callable[[str], tuple[int, int]]) -> tuple[pafs.FileSystem, str]:
    """The archive of a location as a file system, and the path in it. Raises OSError for a damaged archive."""
    head, mark, options = location.partition("?")
    found = _ARCHIVE.fullmatch(head)
    if found is None:
        raise OSError("it is no location in an archive")
    where = _local(found[2]) if found[2].startswith("file://") else f"{found[2]}{mark}{options}"
    return _opened(found[1], where, stamp(where), opener), unquote(found[3] or "").strip("/")


def _local(uri: str) -> str:
    return unquote(uri.removeprefix("file://"))


@lru_cache(maxsize=16)
def _opened(kind: str, location: str, _stamp: tuple[int, int], opener: Opener) -> pafs.FileSystem:
    # The list of a large archive takes seconds to read, so each process reads it once.
    try:
        if kind == "zip":
            return pafs.PyFileSystem(_Handler(_zip(location, opener)))
        return pafs.PyFileSystem(_Handler(_tar(plain_tar(location, opener, lambda _: _stamp), opener)))
    except _DAMAGED as error:
        raise DamagedError(f"the archive is damaged: {reason(error)}") from error


class _Entry(NamedTuple):
    size: int
    read: Callable[[], bytes]


def _zip(location: str, opener: Opener) -> dict[str, _Entry]:
    archive = zipfile.ZipFile(opener(location))
    lock = threading.Lock()

    def read(info: zipfile.ZipInfo) -> bytes:
        with lock:
            return archive.read(info)

    entries = {}
    for info in archive.infolist():
        name = _plain(info.filename)
        if info.flag_bits & _ENCRYPTED:
            raise DamagedError("it is encrypted, and no password can be given")
        if not info.is_dir() and name and not name.startswith(_APPLE):
            entries[name] = _Entry(info.file_size, lambda info=info: read(info))  # type: ignore[misc]
    return entries


def _tar(location: str, opener: Opener) -> dict[str, _Entry]:
    def read(offset: int, size: int) -> bytes:
        with opener(location) as stream:
            stream.seek(offset)
            data = stream.read(size)
        if len(data) < size:
            raise OSError("the archive ends before its last file")
        return data

    entries = {}
    with opener(location) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        untyped: Any = archive
        for entry in archive:
            untyped.members = []
            if entry.size < 0:
                raise tarfile.ReadError("an entry has a size below 0")
            name = _plain(entry.name)
            if entry.isreg() and not entry.issparse() and name:
                at = (entry.offset_data, entry.size)
                entries[name] = _Entry(entry.size, lambda at=at: read(*at))  # type: ignore[misc]
    return entries


def _plain(name: str) -> str:
    """The name of an entry as valid text, with '/' between its parts and none of them '..' or empty."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace").replace("\\", "/")
    return "/".join(part for part in text.split("/") if part not in ("", ".", ".."))


class _Handler(pafs.FileSystemHandler):
    """An archive for pyarrow: reading only."""

    def __init__(self, entries: dict[str, _Entry]) -> None:
        self.entries = entries
        self.folders = {"", *(name[:at] for name in entries for at in _slashes(name))}

    def get_type_name(self) -> str:
        return "archive"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return [self._info(path.strip("/")) for path in paths]

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        base = selector.base_dir.strip("/")
        if base not in self.folders:
            if selector.allow_not_found:
                return []
            raise FileNotFoundError(base)
        prefix = f"{base}/" if base else ""
        below = (name for name in (*self.entries, *self.folders) if name != base and name.startswith(prefix))
        return [self._info(name) for name in below if selector.recursive or "/" not in name[len(prefix) :]]

    def _info(self, path: str) -> pafs.FileInfo:
        if path in self.entries:
            return pafs.FileInfo(path, pafs.FileType.File, size=self.entries[path].size)
        return pafs.FileInfo(path, pafs.FileType.Directory if path in self.folders else pafs.FileType.NotFound)

    def open_input_file(self, path: str) -> pa.NativeFile:
        entry = self.entries.get(path.strip("/"))
        if entry is None:
            raise FileNotFoundError(path)
        if entry.size > MOST:
            raise OSError(f"the file has {entry.size:,} bytes, and at most {MOST:,} are read from an archive")
        try:
            return pa.BufferReader(entry.read())
        except (*_DAMAGED, NotImplementedError) as error:  # another method of compression, or a password
            raise OSError(f"the archive is damaged or cannot be read: {reason(error)}") from error

    open_input_stream = open_input_file

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise OSError("archives are only read")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _refuse
    move = copy_file = open_output_stream = open_append_stream = _refuse


def _slashes(name: str) -> list[int]:
    return [at for at, letter in enumerate(name) if letter == "/"]


def only_folder(location: str, folders: Callable[[str], list[str]], files: Callable[[str], list[str]]) -> str:
    """The location itself, or the one folder that holds all of it, however deep."""
    while not files(location) and len(found := folders(location)) == 1:
        location = join(location, found[0])
    return location


def plain_tar(location: str, opener: Opener, stamp: Callable[[str], tuple[int, int]]) -> str:
    """The path of this machine's uncompressed copy of a compressed tar; of other files, their own location.

    Raises OSError for a tar that cannot be uncompressed, or has no room in the cache.
    """
    name = base_name(location).lower()
    ending = next((ending for ending in COMPRESSED_TARS if name.endswith(ending)), None)
    if ending is None:
        return location
    key = hashlib.blake2b(repr((location, *stamp(location))).encode(), digest_size=8).hexdigest()
    folder = cache() / "uncompressed" / key
    copy = folder / f"{base_name(location)[: -len(ending)]}.tar"
    if not copy.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one process does the work, the others of this machine wait for it
            if not copy.exists():
                _uncompress(location, ending, copy, opener)
    return str(copy)


def _uncompress(location: str, ending: str, copy: Path, opener: Opener) -> None:
    uncompressed: Any = gzip.open if ending.endswith("gz") else bz2.open if ending.endswith("bz2") else lzma.open
    temporary = copy.with_name("incomplete")  # the lock makes sure that it is ours, or of a process that is gone
    try:
        with opener(location) as stream, temporary.open("wb") as target, uncompressed(stream) as content:
            while piece := content.read(1 << 20):
                target.write(piece)
        os.replace(temporary, copy)
    except (gzip.BadGzipFile, *_DAMAGED) as error:
        raise DamagedError(f"the archive is damaged: {reason(error)}") from error
    except OSError as error:
        if error.errno is None:  # bz2 has no exception of its own
            raise DamagedError(f"the archive is damaged: {reason(error)}") from error
        raise OSError(error.errno, f"{error.strerror}, while it was uncompressed into {cache()}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def cache() -> Path:
    """The folder for what can be made again: `$XDG_CACHE_HOME/irnet-ray`, or in `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "irnet-ray"
