"""The tags file of a data folder: `tags.csv` or `tags.parquet` with the columns `image` and `tags`."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from irnet_ray.algorithms.maps import MAX_TAGS
from irnet_ray.errors import UserError, reason
from irnet_ray.storage.files import is_file, open_binary
from irnet_ray.storage.locations import join, suffix

COLUMNS = ("image", "tags")


@dataclass(frozen=True)
class Tagged:
    """One row: the image as listed, its distinct tags in order, and its place in the file, "line 5" or "row 5"."""

    image: str
    tags: list[str]
    place: str


def find_tags_file(folder: str | os.PathLike[str]) -> str:
    """Location of the one tags file of a folder. Raises UserError if there is none, or both."""
    found = tags_files(os.fspath(folder))
    if not found:
        raise no_tags_file(os.fspath(folder))
    if len(found) == 2:
        raise UserError(f"{folder} has both tags.csv and tags.parquet: keep the one that is right.")
    return found[0]


def no_tags_file(folder: str) -> UserError:
    """The error for a folder of images without tags."""
    return UserError(
        f"{folder} has no tags.csv and no tags.parquet: add one with the columns image,tags (tags separated by ';')."
    )


def tags_files(folder: str) -> list[str]:
    """Locations of the tags files of a folder: none, one, or both kinds."""
    return [file for name in ("tags.csv", "tags.parquet") if is_file(file := join(folder, name))]


def read_tags(path: str | os.PathLike[str]) -> list[Tagged]:
    """Rows of a tags file in its order. Raises UserError for the first mistake in it."""
    path = os.fspath(path)
    rows: list[Tagged] = []
    seen: dict[str, str] = {}
    for image, tags, place in _parquet_rows(path) if suffix(path) == ".parquet" else _csv_rows(path):
        distinct = clean(tags)
        _check_row(path, place, image, distinct)
        if image in seen:
            raise UserError(f"{path} lists {image} twice, on {seen[image]} and {place}: keep one row per image.")
        seen[image] = place
        rows.append(Tagged(image, distinct, place))
    if not rows:
        raise UserError(f"{path} lists no images: add a row for each.")
    return rows


def clean(tags: Iterable[str]) -> list[str]:
    """Distinct tags in order, stripped, without empty ones."""
    return list(dict.fromkeys(tag for tag in (tag.strip() for tag in tags) if tag))


def _check_row(path: str, place: str, image: str, tags: list[str]) -> None:
    if not image:
        raise UserError(f"{path}, {place} names no image: fill it in, or delete the row.")
    check_name(path, place, image)
    check_tags(path, place, image, tags)


def check_name(path: str, place: str, image: str) -> None:
    """Raise UserError for a listed name that leads out of the folder."""
    name = PurePosixPath(image)
    if name.is_absolute() or ".." in name.parts or "\0" in image:
        raise UserError(f"{path}, {place} names {image!r}: image names must be paths below the folder, without '..'.")


def check_tags(path: str, place: str, image: str, tags: list[str]) -> None:
    """Raise UserError for an image without tags, or with more than `MAX_TAGS`."""
    if len(tags) > MAX_TAGS:
        raise UserError(f"{path}, {place} gives {image} {len(tags)} tags: at most {MAX_TAGS} fit one image.")


def _check_columns(path: str, names: list[str]) -> None:
    missing = [column for column in COLUMNS if names.count(column) != 1]
    if missing:
        raise UserError(
            f"{path} must have one column {' and one column '.join(missing)}, and has "
            f"{', '.join(names) or 'none'}: name its columns image,tags."
        )


def _csv_rows(path: str) -> Iterator[tuple[str, Iterable[str], str]]:
    """(image, raw tags, place) of each row; blank lines are skipped."""
    for values, place in read_csv(path, _check_columns):
        yield values["image"].strip(), values["tags"].split(";"), place


def read_csv(path: str, check: Callable[[str, list[str]], None]) -> Iterator[tuple[dict[str, str], str]]:
    """Values by column, and the place, of each row of a CSV file; blank lines are skipped.

    `check(path, column names)` raises UserError for columns that the caller cannot use.
    """
    line = 0
    try:
        with io.TextIOWrapper(open_binary(path), encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            names = [name.strip() for name in next(reader, [])]
            check(path, names)
            for values in reader:
                line = reader.line_num
                if not values:
                    continue
                if len(values) != len(names):
                    raise UserError(
                        f"{path}, line {line} has {len(values)} values where the header has {len(names)}: "
                        "separate tags by ';' and quote names that hold a comma."
                    )
                yield dict(zip(names, values, strict=True)), f"line {line}"
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise UserError(
            f"{path} cannot be read as CSV at line {reader.line_num}: {error}; correct that line."
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; check its permissions.") from error


def _parquet_rows(path: str) -> Iterator[tuple[str, Iterable[str], str]]:
    """(image, raw tags, place) of each row; rows count from 1."""
    table = read_parquet(path, list(COLUMNS), _check_columns)
    image_type, tags_type = plain_type(table.schema, "image"), plain_type(table.schema, "tags")
    if not is_text(image_type) or not is_text(plain_type(table.schema, "tags", items=True)):
        raise UserError(
            f"{path} must hold text in the column image and text or lists of text in tags, and holds "
            f"{image_type} and {tags_type}: convert them."
        )
    pairs = zip(table["image"].to_pylist(), raw_tags(table), strict=True)
    for number, (image, tags) in enumerate(pairs, start=1):
        yield (image or "").strip(), tags, f"row {number}"


def read_parquet(path: str, columns: list[str] | None, check: Callable[[str, list[str]], None]) -> pa.Table:
    """Columns of a Parquet file, with all text checked to be UTF-8. Raises UserError; `check` is as for `read_csv`."""
    try:
        with open_binary(path) as stream, pq.ParquetFile(stream) as file:
            check(path, file.schema_arrow.names)
            table = file.read(columns)
        table.validate(full=True)  # otherwise text that is not UTF-8 would fail later, on its way to Python
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}; write it again.") from error
    return table


def raw_tags(table: pa.Table) -> Iterator[list[str]]:
    """The tags of each row, from a column of lists or of text with ';'."""
    listed = plain_type(table.schema, "tags") != plain_type(table.schema, "tags", items=True)
    for tags in table["tags"].to_pylist():
        yield (tags or "").split(";") if not listed else [tag or "" for tag in tags or []]


def plain_type(schema: pa.Schema, column: str, items: bool = False) -> pa.DataType:
    """The type of the values of a column, without dictionary encoding; with `items` that of the items of its lists."""
    kind = _plain(schema.field(column).type)
    if items and isinstance(kind, pa.ListType | pa.LargeListType):
        kind = _plain(kind.value_type)
    return kind


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if isinstance(kind, pa.DictionaryType) else kind


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of Arrow's types of text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
