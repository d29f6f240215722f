"""WebDataset tars: each sample is `key.jpg` with its tags in `key.json`, `key.cls` or `key.txt`.

Tars are read once, from beginning to end, and never unpacked. The name of an entry is data and never used as a path.
"""

from __future__ import annotations

import itertools
import json
import re
import tarfile
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa

from irnet_ray.errors import UserError, reason
from irnet_ray.inputs import parallel
from irnet_ray.inputs.decode import EXTENSIONS
from irnet_ray.inputs.images_table import Listed, Seen, describe_bytes, refuse_unnamed
from irnet_ray.inputs.place import Place
from irnet_ray.inputs.tags import check_tags, clean
from irnet_ray.inputs.uris import tar_uri
from irnet_ray.storage.files import open_binary
from irnet_ray.storage.locations import base_name, join, suffix

TAGS = ("json", "cls", "txt")  # the first of these with tags is taken
MOST_TEXT = 16 << 20  # bytes of a file of tags
MOST_TARS = 100_000

_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_BRACES = re.compile(r"\{([^{}]*)\}")


def recognize(place: Place) -> str | None:
    """A .tar file, a pattern of them, or a folder with .tar files and no images."""
    if place.kind == "folder":
        return "it holds .tar files and no images" if place.named(".tar") and not place.images else None
    if suffix(place.location) != ".tar":
        return None
    if place.kind == "file":
        return "it is a .tar file"
    return "it is a pattern of .tar files" if "{" in place.location else None


def expand(pattern: str) -> list[str]:
    """The locations that a pattern stands for: `{000..146}` counts up, `{a,b}` lists."""
    parts = _BRACES.split(pattern)
    choices = [[part] if number % 2 == 0 else _choices(pattern, part) for number, part in enumerate(parts)]
    found = ["".join(chosen) for chosen in itertools.islice(itertools.product(*choices), MOST_TARS + 1)]
    if len(found) > MOST_TARS:
        raise UserError(f"{pattern} stands for more than {MOST_TARS:,} files: name fewer.")
    return found


def _choices(pattern: str, inside: str) -> list[str]:
    counted = _RANGE.fullmatch(inside)
    if counted is None:
        return inside.split(",")
    first, last = int(counted[1]), int(counted[2])
    if last - first >= MOST_TARS:
        raise UserError(f"{pattern} stands for more than {MOST_TARS:,} files: name fewer.")
    return [f"{number:0{len(counted[1])}d}" for number in range(first, last + 1)]


def listed(place: Place) -> list[Listed]:
    """Every image of the tars. An id is the name of the tar and that of the entry."""
    tars = _tars(place)
    # A tar holds hundreds of images, so it pays to hand even a few tars to a cluster.
    images = list(itertools.chain.from_iterable(parallel.each(partial(_read), tars, many=16, chunk=1)))
    if not images:
        raise UserError(
            f"{tars[0][1]} holds no images with tags, key.jpg beside key.json, .cls or .txt: name other tars."
        )
    return images


def _tars(place: Place) -> list[tuple[str, str]]:
    """Name and location of each tar."""
    if place.kind == "folder":
        parts = place.named(".tar")
        refuse_unnamed(place.location, parts)
        return [(name, join(place.location, name)) for name in parts]
    tars = [place.location] if place.kind == "file" else expand(place.location)
    return [(base_name(tar), tar) for tar in tars]


@dataclass
class _Sample:
    image: tuple[str, str, Seen] | None = None  # the entry's name, its uri, and what its bytes say
    texts: dict[str, bytes] = field(default_factory=dict)


def _read(tar: tuple[str, str]) -> list[Listed]:
    name, location = tar
    try:
        with open_binary(location) as stream, tarfile.open(fileobj=stream, mode="r:") as opened:
            samples = _samples(location, opened)
    except FileNotFoundError as error:
        raise UserError(f"{location} does not exist: name tars that are there.") from error
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise UserError(
            f"{location} cannot be read as a tar: {reason(error)}; write it again, not compressed."
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{location} cannot be read: {reason(error)}; check its permissions.") from error
    images = []
    for sample in samples.values():
        if sample.image is None:
            continue
        entry, uri, seen = sample.image
        tags = _tags(location, entry, sample.texts)
        check_tags(location, "an entry", entry, tags)
        images.append(Listed(f"{name}/{entry}", tags, uri, seen))
    return images


def _samples(location: str, opened: tarfile.TarFile) -> dict[str, _Sample]:
    samples: dict[str, _Sample] = {}
    untyped: Any = opened
    for entry in opened:
        untyped.members = []  # tarfile keeps all entries for look-ups by name, which nobody does here
        if entry.size < 0:
            raise tarfile.ReadError(f"{entry.name} has a size below 0")  # tarfile would go back and loop forever
        if not entry.isreg() or entry.issparse():  # a folder, link or device, or bytes in several pieces
            continue
        key, extension = _split(entry.name)
        if f".{extension}" in EXTENSIONS:
            sample = samples.setdefault(key, _Sample())
            if sample.image is not None:
                raise UserError(f"{location} holds two images of {key}: keep one of each key.")
            seen = describe_bytes(_content(opened, entry))
            sample.image = (_text(entry.name), tar_uri(location, entry.offset_data, entry.size), seen)
        elif extension in TAGS:
            if entry.size > MOST_TEXT:
                raise UserError(f"{location}: {entry.name} has {entry.size:,} bytes, too many for tags.")
            samples.setdefault(key, _Sample()).texts[extension] = _content(opened, entry)
    return samples


def _split(name: str) -> tuple[str, str]:
    """Key and extension of a name, whose last part is split at its first dot."""
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return folder + slash + stem, extension.lower()


def _content(opened: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    stream: Any = opened.extractfile(entry)
    data: bytes = stream.read()
    if len(data) < entry.size:
        raise tarfile.ReadError(f"it ends within {entry.name}")
    return data


def _text(name: str) -> str:
    """The name of an entry as valid text: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _tags(location: str, entry: str, texts: dict[str, bytes]) -> list[str]:
    try:
        for extension in TAGS:
            if extension in texts:
                text = texts[extension].decode("utf-8-sig")
                raw = _json_tags(text) if extension == "json" else text.split(";")
                if raw is not None:
                    return clean(raw)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{location}: the tags of {entry} cannot be read: {error}; write them again.") from error
    return []


def _json_tags(text: str) -> list[str] | None:
    """The member `tags`, a list of text or text with ';'; None if there is none."""
    content = json.loads(text)
    tags = content.get("tags") if isinstance(content, dict) else content
    if isinstance(tags, str):
        return tags.split(";")
    if tags is not None and not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        raise ValueError("tags must be text or a list of text")
    return tags
