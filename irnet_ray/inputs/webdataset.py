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
from irnet_ray.inputs import columns, parallel
from irnet_ray.inputs.cells import DEFAULT, split_cells
from irnet_ray.inputs.images_table import READ_WHOLE, describe_bytes, refuse_unnamed
from irnet_ray.inputs.listing import (
    NO_TAGS,
    NOT_A_FILE,
    NOT_AN_IMAGE,
    TAGS_FILE,
    LeftOut,
    Listed,
    Listing,
    Seen,
    joined,
)
from irnet_ray.inputs.place import Place
from irnet_ray.inputs.sniff import is_image_bytes, is_image_name, may_be_image
from irnet_ray.inputs.tags import as_tags, check_tags, clean
from irnet_ray.inputs.uris import tar_uri
from irnet_ray.storage.archives import COMPRESSED_TARS, TARS
from irnet_ray.storage.files import advice, open_binary, uncompressed
from irnet_ray.storage.locations import base_name, join

TAGS = ("json", "cls", "txt")  # the first of these with tags is taken; txt only where it is alone
MOST_TEXT = 16 << 20  # bytes of a file of tags
MOST_TARS = 100_000
_LOOKED_AT = 5_000  # entries of a tar

_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_BRACES = re.compile(r"\{([^{}]*)\}")


def recognize(place: Place) -> str | None:
    """A tar of samples, a pattern of tars, or a folder with tars and no images."""
    if place.kind == "folder":
        return "it holds .tar files and no images" if _parts(place) and not place.images else None
    ending = next((ending for ending in (*TARS, *COMPRESSED_TARS) if place.location.lower().endswith(ending)), None)
    if ending is None:
        return None
    if place.kind == "file":
        return f"it is a {ending} file" if holds_samples(place.location) else None
    return f"it is a pattern of {ending} files" if "{" in place.location else None


def _parts(place: Place) -> list[str]:
    return [name for ending in (*TARS, *COMPRESSED_TARS) for name in place.named(ending)]


def holds_samples(location: str) -> bool:
    """Whether a tar is to be read as samples: not if its first images have nothing of their name beside them.

    True for what cannot be read: `listed` says why.
    """
    if not location.lower().endswith((*TARS, *COMPRESSED_TARS)):
        return False
    images: set[str] = set()
    texts: set[str] = set()
    try:
        with open_binary(uncompressed(location)) as stream, tarfile.open(fileobj=stream, mode="r:") as opened:
            for entry in itertools.islice(opened, _LOOKED_AT):
                if entry.size < 0:
                    return True
                stem, extension = _split(_text(entry.name))
                (images if is_image_name(entry.name) else texts if extension in TAGS else set()).add(stem)
    except (tarfile.TarError, EOFError, ValueError, OverflowError, OSError, pa.ArrowException):
        return True
    simple = {_first_dot(stem) for stem in images}
    return not images or not texts.isdisjoint(images | simple)


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


def listed(place: Place) -> Listing:
    """Every image of the tars. An id is the name of the tar and that of the entry."""
    tars = _tars(place)
    # A tar holds hundreds of images, so it pays to hand even a few tars to a cluster.
    found = joined(parallel.each(partial(_read, place.separator), tars, many=16, chunk=1), "entry")
    if not found.images:
        raise UserError(
            f"{tars[0][1]} holds no images with tags, key.jpg beside key.json with a member tags or labels, key.cls or "
            "key.txt: name other tars (a .txt beside a .json or .cls is a caption, and is not read)."
        )
    if all(tag.isdecimal() for image in found.images for tag in image.tags):
        found.notes.append("the tags are numbers: a tar holds no names of classes")
    return found


def _tars(place: Place) -> list[tuple[str, str]]:
    """Name and location of each tar."""
    if place.kind == "folder":
        parts = _parts(place)
        refuse_unnamed(place.location, parts)
        return [(name, join(place.location, name)) for name in parts]
    tars = [place.location] if place.kind == "file" else expand(place.location)
    return [(base_name(tar), tar) for tar in tars]


@dataclass
class _Entries:
    """What a tar holds, by what it is to us."""

    images: list[tuple[str, str, Seen]] = field(default_factory=list)  # name, uri, and what the bytes say
    texts: dict[str, dict[str, bytes]] = field(default_factory=dict)  # by the name up to the last dot, by extension
    left_out: LeftOut = field(default_factory=LeftOut)
    seen: int = 0


def _read(separator: str | None, tar: tuple[str, str]) -> Listing:
    name, location = tar
    try:
        with open_binary(uncompressed(location)) as stream, tarfile.open(fileobj=stream, mode="r:") as opened:
            entries = _entries(name, location, opened)
    except FileNotFoundError as error:
        raise UserError(f"{location} does not exist: name tars that are there.") from error
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise UserError(f"{location} cannot be read as a tar: {reason(error)}; write it again.") from error
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{location} cannot be read: {reason(error)}; {advice(error)}.") from error
    keys, images = _keys(location, entries), []
    for entry, uri, seen in entries.images:
        if entry in keys:
            tags = _tags(location, entry, entries.texts[keys[entry]], separator)
            if tags is None:
                entries.left_out.add(NO_TAGS, f"{name}/{entry}")
                continue
            check_tags(location, "an entry", entry, tags)
            images.append(Listed(f"{name}/{entry}", tags, uri, seen))
    return Listing(images, entries.seen, entries.left_out, unit="entry")


def _entries(name: str, location: str, opened: tarfile.TarFile) -> _Entries:
    found = _Entries()
    untyped: Any = opened
    for entry in opened:
        untyped.members = []  # tarfile keeps all entries for look-ups by name, which nobody does here
        if entry.size < 0:
            raise tarfile.ReadError(f"{entry.name} has a size below 0")  # tarfile would go back and loop forever
        if entry.isdir():
            continue
        found.seen += 1
        text = _text(entry.name)
        stem, extension = _split(text)
        if not entry.isreg() or entry.issparse():  # a link or device, or bytes in several pieces
            found.left_out.add(NOT_A_FILE, f"{name}/{text}")
            continue
        known, unsure = is_image_name(text), may_be_image(text) and entry.size <= READ_WHOLE
        data = _content(opened, entry) if known or unsure else b""
        if known or (unsure and is_image_bytes(data)):
            found.images.append((text, tar_uri(location, entry.offset_data, entry.size), describe_bytes(data)))
        elif extension in TAGS:
            if entry.size > MOST_TEXT:
                raise UserError(f"{location}: {entry.name} has {entry.size:,} bytes, too many for tags.")
            found.texts.setdefault(stem, {})[extension] = _content(opened, entry)
            found.left_out.add(TAGS_FILE, f"{name}/{text}")
        else:
            found.left_out.add(NOT_AN_IMAGE, f"{name}/{text}")
    return found


def _keys(location: str, entries: _Entries) -> dict[str, str]:
    """Where the tags of each image are, by its name. The other images are added to those left out.

    They are at the name up to its last dot: `cat.v1.json` for `cat.v1.jpg`. WebDataset's own rule is the first dot, so
    `cat.rgb.jpg` may have its tags in `cat.json`, unless there is `cat.jpg`, whose tags they are.
    """
    simple = {_split(image)[0] for image, _, _ in entries.images}
    keys: dict[str, str] = {}
    image_of: dict[str, str] = {}
    for image, _, _ in entries.images:
        last, first = _split(image)[0], _first_dot(image)
        key = last if last in entries.texts or first in simple else first
        if key not in entries.texts:
            beside = first != last and first in simple
            entries.left_out.add("another image of a sample" if beside else NO_TAGS, f"{base_name(location)}/{image}")
            continue
        if key in image_of:
            raise UserError(f"{location} holds two images of {key} ({image_of[key]}, {image}): keep one of each key.")
        image_of[key], keys[image] = image, key
    return keys


def _split(name: str) -> tuple[str, str]:
    """A name up to its last dot, and its extension in lower case."""
    stem, _, extension = name.rpartition(".")
    return (stem, extension.lower()) if "/" not in extension and stem else (name, "")


def _first_dot(name: str) -> str:
    """The key of a sample by WebDataset's rule: the name up to the first dot of its last part."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _content(opened: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    stream: Any = opened.extractfile(entry)
    data: bytes = stream.read()
    if len(data) < entry.size:
        raise tarfile.ReadError(f"it ends within {entry.name}")
    return data


def _text(name: str) -> str:
    """The name of an entry as valid text: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _tags(location: str, entry: str, texts: dict[str, bytes], separator: str | None) -> list[str] | None:
    """Tags of an image, none for an image of nothing; None where the tar does not say."""
    # A text beside a .json or .cls is a caption: img2dataset writes it so.
    used = [extension for extension in TAGS if extension in texts and (extension != "txt" or len(texts) == 1)]
    try:
        for extension in used:
            text = texts[extension].decode("utf-8-sig")
            raw = _json_tags(text) if extension == "json" else text
            if raw is not None:
                # Only all cells together tell another separator, so without one it is the documented one.
                ((tags,), _) = split_cells(location, [raw], separator or DEFAULT)
                return clean(tags)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{location}: the tags of {entry} cannot be read: {error}; write them again.") from error
    return None


def _json_tags(text: str) -> str | list[str] | None:
    """The tags in a JSON text, a list or text with ';'; None if it holds none."""
    content = json.loads(text)
    if not isinstance(content, dict):
        return as_tags(content)
    by_plain = {columns.plain(name): value for name, value in content.items() if value is not None}
    found = (by_plain[name] for name in columns.TAGS if name in by_plain and name not in columns.CAPTIONS)
    value = next(found, None)
    return None if value is None else as_tags(value)
