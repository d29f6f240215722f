"""Tables of images and their tags: each row, or each group of rows, becomes an image with its tags.

image,tags        a.jpg,dog;cat                   several tags in a cell, see `cells`
image,dog,cat     a.jpg,1,1                       one-hot: the header names the tags
image,tag         a.jpg,dog and a.jpg,cat         long: the rows of an image are put together
ImageID,LabelName,Confidence                      as in Open Images, see `openimages`
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from irnet_ray.algorithms.maps import MAX_TAGS
from irnet_ray.errors import UserError, printable
from irnet_ray.inputs import cells, columns, one_hot, openimages, raw_table
from irnet_ray.inputs.columns import Columns
from irnet_ray.inputs.openimages import States
from irnet_ray.inputs.raw_table import RawTable, read_raw
from irnet_ray.text import count, cut, names


class Tagged(NamedTuple):
    """One image: its name as listed, its distinct tags in order, and its place in the file, "line 5" or "row 5"."""

    image: str  # "" if the table holds its bytes and no name
    tags: list[str]
    place: str
    unknown: tuple[str, ...] = ()  # tags of which nobody knows whether the image has them
    absent: tuple[str, ...] = ()  # tags that the table says are absent; tags that it never mentions are absent too
    image_id: str | None = None  # from a column of its own
    row: int = 0  # from 0
    is_tagged: bool = True  # False where the table says nothing about the image, as a class of -1 does


@dataclass(frozen=True)
class TagTable:
    """The images of a table, in its order, and what was guessed about it."""

    path: str
    rows: list[Tagged]
    seen: int  # rows of the table
    notes: list[str] = field(default_factory=list)
    bytes_of: str | None = None  # the column of a Parquet file that holds the images


def read_tags(path: str | os.PathLike[str], separator: str | None = None) -> TagTable:
    """The images of a table with their tags.

    Args:
        path: a file with one of the extensions `raw_table.SUFFIXES`.
        separator: what separates tags in a cell; None to find it out.

    Raises:
        UserError: the first mistake in it, or what cannot be told from it.
    """
    raw = read_raw(os.fspath(path))
    is_json = raw_table.is_json(raw.path)
    if raw.rows or not is_json:
        found = columns.find(
            raw.path, raw.columns, raw.values, raw.classes, raw.bytes_of is not None, may_lack_tags=is_json
        )
    if not raw.rows:
        raise UserError(f"{raw.path} lists no images: add a row for each.")
    notes: list[str] = []
    images = _names(raw, found.image)
    ids = _names(raw, found.image_id)
    known = [True] * raw.rows
    if found.one_hot:
        states = one_hot.read(raw, found.one_hot, found.ignored, notes)
    else:
        tags, known = _cells(raw, found, separator, notes)
        tags = openimages.name_ids(raw.path, tags, notes)
        states = openimages.read(raw, found.confidence, tags, notes) if found.confidence else [*map(States, tags)]
    if found.ignored and (found.one_hot or len(found.ignored) > 3):
        notes.append(f"columns that are not read: {names([printable(cut(name, 40)) for name in found.ignored], 5)}")
    rows = [
        Tagged(image, one.present, raw.place(row), tuple(one.unknown), tuple(one.absent), image_id or None, row, says)
        for row, (image, one, image_id, says) in enumerate(zip(images, states, ids, known, strict=True))
    ]
    if raw.bytes_of is None:
        rows = _together(raw.path, rows, found, notes)
    if any(row.absent for row in rows):
        rows = _verified(rows, notes)
    for tagged in rows:
        if not tagged.image and raw.bytes_of is None:
            raise UserError(f"{raw.path}, {tagged.place} names no image: fill it in, or delete the row.")
        check_tags(raw.path, tagged.place, tagged.image, tagged.tags)
    return TagTable(raw.path, rows, raw.rows, notes, raw.bytes_of)


def _names(raw: RawTable, column: str | None) -> list[str]:
    """Names in a column, "" where there is none. Numbers are names too."""
    if column is None:
        return [""] * raw.rows
    found = []
    for row, value in enumerate(raw.values(column)):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if value is not None and not isinstance(value, str | int | float):
            raise UserError(f"{raw.path}, {raw.place(row)} holds no text in {column}: write the name of the image.")
        found.append(_checked(raw, row, column, "" if value is None else str(value).strip()))
    return found


def _cells(
    raw: RawTable, found: Columns, separator: str | None, notes: list[str]
) -> tuple[list[list[str]], list[bool]]:
    """The tags of each row, and whether the row says anything about its image."""
    column = found.tags
    if column is None:
        return [[] for _ in range(raw.rows)], [True] * raw.rows
    classes = raw.classes.get(column)
    values: list[str | list[str]] = []
    known: list[bool] = []
    for row, value in enumerate(raw.values(column)):
        try:
            text = as_tags(value, classes)
        except (ValueError, RecursionError) as error:
            raise UserError(
                f"{raw.path}, {raw.place(row)} holds no text in {column} ({error}): write text, or a list of text."
            ) from error
        known.append(text is not None)
        values.append(
            _checked(raw, row, column, text)
            if isinstance(text, str)
            else [_checked(raw, row, column, tag) for tag in text or ()]
        )
    if columns.plain(column) != "tags":
        notes.append(f"the column {column} holds the tags")
    texts, said = cells.split_cells(raw.path, values, separator)
    notes.extend(said)
    tags = [clean(some) for some in texts]
    if any(tags) and all(tag.isdecimal() for some in tags for tag in some):
        notes.append(f"the tags in {column} are numbers: no names of classes were found")
    return tags, known


def as_tags(value: Any, classes: Sequence[str] | None = None) -> str | list[str] | None:
    """A value as text, which may hold several tags, or as a list of tags; None where it says nothing.

    Raises ValueError for what is no tag.
    """
    if value is None:
        return ""
    if isinstance(value, list):
        parts = [as_tags(one, classes) for one in value if one is not None]
        return [tag for part in parts for tag in ([part] if isinstance(part, str) else part or [])]
    if isinstance(value, dict):  # {"bbox": ..., "category": ...}, as detection data sets of Hugging Face have
        inside = [one for name, one in value.items() if columns.plain(name) in (*columns.TAGS, "name")]
        if len(inside) != 1:
            raise ValueError("an object without tags")
        return as_tags(inside[0], classes)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(type(value).__name__)
    if isinstance(value, str):
        return value
    if classes is not None:
        if value != value or value < 0:  # -1 stands for "not labeled" in splits that are kept secret
            return None
        if not float(value).is_integer() or value >= len(classes):
            raise ValueError(f"class {value} of {len(classes)}")
        return [classes[int(value)]]
    return [str(int(value)) if float(value).is_integer() else str(value)] if value == value else ""


def _checked(raw: RawTable, row: int, column: str, text: str) -> str:
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise UserError(
            f"{raw.path}, {raw.place(row)} holds half a surrogate pair in {column}, which is not text: correct it."
        )
    return text


def _together(path: str, rows: list[Tagged], found: Columns, notes: list[str]) -> list[Tagged]:
    """One row for each image. Raises UserError for an image that is listed twice where a row holds all its tags."""
    given = [row.image_id for row in rows if row.image_id]
    separate = found.image_id is not None and columns.plain(found.image_id) != "id" and len(set(given)) == len(rows)
    by_name: dict[str, list[Tagged]] = {}
    for row in rows:
        by_name.setdefault(row.image_id or row.image if separate else row.image, []).append(row)
    if len(by_name) == len(rows) or "" in by_name:
        return rows
    if found.one_hot:
        first, second, *_ = next(same for same in by_name.values() if len(same) > 1)
        raise UserError(
            f"{path} lists {first.image} twice, on {first.place} and {second.place}: keep one row per image."
        )
    several = sum(len(same) > 1 for same in by_name.values())
    notes.append(f"{count(several, 'image')} on several rows, which are put together")
    return [_merged(same) for same in by_name.values()]


def _merged(same: list[Tagged]) -> Tagged:
    if len(same) == 1:
        return same[0]
    present = dict.fromkeys(tag for row in same for tag in row.tags)
    absent = dict.fromkeys(tag for row in same for tag in row.absent)
    # Where two rows contradict each other, nobody knows.
    unknown = {tag: None for row in same for tag in row.unknown if tag not in present and tag not in absent}
    unknown.update(dict.fromkeys(tag for tag in present if tag in absent))
    ids = {row.image_id for row in same}
    return same[0]._replace(
        tags=[tag for tag in present if tag not in unknown],
        unknown=tuple(unknown),
        absent=tuple(tag for tag in absent if tag not in unknown),
        image_id=same[0].image_id if len(ids) == 1 else None,
        is_tagged=any(row.is_tagged for row in same),
    )


def _verified(rows: list[Tagged], notes: list[str]) -> list[Tagged]:
    """The rows of a table that says which tags are absent: what it does not mention is unknown."""
    vocabulary = sorted({tag for row in rows for tag in row.tags})
    found = openimages.unverified([row.tags for row in rows], [row.absent for row in rows], vocabulary, notes)
    return [row._replace(unknown=unknown or row.unknown) for row, unknown in zip(rows, found, strict=True)]


def clean(tags: Iterable[str]) -> list[str]:
    """Distinct tags in order, stripped, without empty ones."""
    return list(dict.fromkeys(tag for tag in (tag.strip() for tag in tags) if tag))


def check_name(path: str, place: str, image: str) -> None:
    """Raise UserError for a listed name that leads out of the folder."""
    name = PurePosixPath(image)
    if name.is_absolute() or ".." in name.parts or "\0" in image:
        raise UserError(f"{path}, {place} names {image!r}: image names must be paths below the folder, without '..'.")


def check_tags(path: str, place: str, image: str, tags: list[str]) -> None:
    """Raise UserError for an image with more than `MAX_TAGS`."""
    if len(tags) > MAX_TAGS:
        raise UserError(f"{path}, {place} gives {image} {len(tags)} tags: at most {MAX_TAGS} fit one image.")
