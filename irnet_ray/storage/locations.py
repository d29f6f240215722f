"""Locations of files and folders as text. Nothing here opens anything.

    /data/photos                          a local path
    s3://bucket/photos?region=eu-west-1   a URI that pyarrow.fs knows: s3, gs, hdfs, fsspec+<protocol>, ...

In a URI the characters '%', '?' and '#' of a name are percent-encoded. What follows '?' are options for the store; they
stay with every location below.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from irnet_ray.errors import UserError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_RESERVED = re.compile(r"[%?#\x00-\x1f]")  # characters of a name that a URI would misread or lose


def is_uri(location: str) -> bool:
    """Whether a location is a URI and not a local path."""
    return _SCHEME.match(location) is not None


def is_web(location: str) -> bool:
    """Whether a location is a page of a web server. Nothing is read from there: it has no folders to list."""
    return location.lower().startswith(("https://", "http://", "ftp://"))


def has_password(uri: str) -> bool:
    """Whether a URI holds a password, as in `s3://key:secret@bucket/photos`."""
    return ":" in _authority(uri)[0]


def _authority(uri: str) -> tuple[str, str]:
    """What a URI says before and after '@' between '://' and the path."""
    user, _, host = re.split(r"[/?#]", uri.partition("://")[2], maxsplit=1)[0].rpartition("@")
    return user, host


def absolute(location: str | os.PathLike[str]) -> str:
    """A location that means the same in every process: an absolute path or a URI.

    Raises UserError for a URI that holds a password, because locations are written into tables.
    """
    text = os.fspath(location)
    if not text:
        raise UserError("The name of a folder or file is empty: name one, or . for this folder.")
    if is_uri(text) and not text.partition("://")[2].strip("/"):
        raise UserError(f"{text} names no bucket and no folder: write {text.partition('://')[0]}://bucket/folder.")
    if not is_uri(text):
        return os.path.abspath(text)
    if has_password(text):
        raise UserError(
            f"The URI of {_authority(text)[1]} holds a password, which would be written into tables: leave it out, and "
            "give it by the store's own environment variables or files."
        )
    if text.startswith("file://"):
        return os.path.abspath(unquote(urlsplit(text).path))
    head, mark, options = text.partition("?")
    return head.rstrip("/") + mark + options


def join(location: str, *names: str) -> str:
    """The location of a file or folder below a folder; a name may be a path with '/' between its parts."""
    name = "/".join(names)
    if not is_uri(location):
        return f"{location.rstrip('/')}/{name}"
    head, mark, options = location.partition("?")
    return f"{head.rstrip('/')}/{encoded(name)}{mark}{options}"


def encoded(name: str) -> str:
    """A name as it stands in a URI."""
    return _RESERVED.sub(lambda found: f"%{ord(found[0]):02X}", name)


def parent(location: str) -> str:
    """The location of the folder that a file or folder is in."""
    if not is_uri(location):
        return os.path.dirname(location)
    head, mark, options = location.partition("?")
    above, _, _ = head.rpartition("/")
    return (head if above.endswith(("/", ":")) else above) + mark + options


def base_name(location: str) -> str:
    """The last part of a location, decoded."""
    if not is_uri(location):
        return os.path.basename(location)
    return unquote(urlsplit(location).path).rpartition("/")[2]


def suffix(location: str) -> str:
    """The extension of a location in lower case, with its dot."""
    return PurePosixPath(base_name(location)).suffix.lower()
