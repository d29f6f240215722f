"""Names for links to the images that are unique and safe in a flat folder, and the table that leads back to the ids."""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow.compute as pc

from irnet_ray.errors import UserError
from irnet_ray.exports.labels import Labels

NAMES = "names.csv"
LONGEST = 160  # bytes of a name before a digest and an extension are added; file systems allow 255

_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,8}\Z")


def check(labels: Labels) -> None:
    """Raise UserError if an image is not a local file: a link cannot lead to it."""
    uris = labels.images["uri"]
    remote = uris.filter(pc.match_substring_regex(uris, r"^[A-Za-z][A-Za-z0-9+.-]*://"))
    if len(remote):
        raise UserError(
            f"{len(remote):,} of the images are not local files (such as {remote[0].as_py()}) and cannot be linked to: "
            "export to COCO, which has no links, or label a local copy."
        )


def extension(path: str) -> str:
    """The extension of a file with its dot, or "" if it has none that is safe to keep."""
    found = _EXTENSION.search(path)
    return found.group() if found else ""


def flat_names(image_ids: Sequence[str]) -> list[str]:
    """A file name without extension for each id, without slashes, spaces, control characters or a leading dash or dot.

    No two ids share a name, not even on a file system that ignores case: the later one gets a digest at its end.
    """
    names: list[str] = []
    used: set[str] = set()
    for image_id in image_ids:
        stem = image_id.removesuffix(extension(image_id))
        name = re.sub(r"^[-.]+|[^\w.-]", "_", stem) or "_"
        name = name.encode()[:LONGEST].decode(errors="ignore")
        if _same(name) in used:
            name += "-" + hashlib.blake2b(image_id.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()
        while _same(name) in used:
            name += "_"
        used.add(_same(name))
        names.append(name)
    return names


def _same(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def write_names(folder: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write `folder/names.csv`: a line of name, image_id and split for each exported image."""
    with (folder / NAMES).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["name", "image_id", "split"])
        table.writerows(rows)
