"""Manifests: Parquet, CSV or JSON lines with one image per row, given by its uri or, in Parquet, by its bytes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from irnet_ray.errors import UserError, printable, reason
from irnet_ray.inputs import uris
from irnet_ray.inputs.images_table import refuse_unnamed
from irnet_ray.inputs.listing import Listed, Listing
from irnet_ray.inputs.place import Place
from irnet_ray.inputs.tags import check_name, check_tags, clean, is_text, plain_type, raw_tags, read_csv, read_parquet
from irnet_ray.storage.files import open_binary
from irnet_ray.storage.locations import base_name, has_password, is_uri, join, parent, suffix
from irnet_ray.text import count

SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
NAMES = ("uri", "file_name", "path", "image")  # columns of text that name an image; the first one is taken
IDS = ("image_id", "id")
LARGE = 64 << 20  # bytes of images in a row group; reading one image reads its whole row group

_log = logging.getLogger(__name__)


class _Row(NamedTuple):
    image_id: str | None
    name: str  # "" if there is none
    tags: Iterable[str]
    place: str
    uri: str | None = None  # of bytes inside a Parquet file


def recognize(place: Place) -> str | None:
    """A manifest by its extension, or a folder with .parquet files and no images."""
    if place.kind == "file" and suffix(place.location) in SUFFIXES:
        return f"it is a {suffix(place.location)} file"
    if place.kind == "folder" and place.named(".parquet") and not place.images:
        return "it holds .parquet files and no images"
    return None


def listed(place: Place) -> Listing:
    """Every row of the manifests.

    An id is the column `image_id` if there is one, else the name of the image as listed, else file and row.
    """
    files = _manifests(place)
    rows = [(name, path, row) for name, path in files for row in _rows(path)]
    if not rows:
        raise UserError(f"{files[0][1]} lists no images: add a row for each.")
    ids = _ids([(name, row) for name, _, row in rows])
    images: list[Listed] = []
    seen: dict[str, str] = {}
    for image_id, (_, path, row) in zip(ids, rows, strict=True):
        if image_id in seen:
            raise UserError(
                f"{path} lists {image_id} twice, on {seen[image_id]} and {row.place}: keep one row per image."
            )
        seen[image_id] = row.place
        tags = clean(row.tags)
        check_tags(path, row.place, image_id, tags)
        images.append(Listed(image_id, tags, row.uri or _uri(path, row)))
    return Listing(images, len(rows), unit="row")


def _manifests(place: Place) -> list[tuple[str, str]]:
    """Name and location of each manifest."""
    if place.kind == "file":
        return [(base_name(place.location), place.location)]
    parts = place.named(".parquet")
    refuse_unnamed(place.location, parts)
    return [(name, join(place.location, name)) for name in parts]


def _ids(rows: list[tuple[str, _Row]]) -> list[str]:
    given = [row.image_id or row.name for _, row in rows]
    if any(row.uri for _, row in rows) and (not all(given) or len(set(given)) < len(given)):
        # Names of images inside Parquet are only labels: they may be missing, or repeat in the next file.
        return [row.image_id or f"{name}/{row.place.removeprefix('row ').zfill(8)}" for name, row in rows]
    return given


def _uri(path: str, row: _Row) -> str:
    """The location of a named image. Relative names are relative to the folder of the manifest."""
    if not row.name:
        raise UserError(f"{path}, {row.place} names no image: fill it in, or delete the row.")
    if is_uri(row.name):
        if has_password(row.name):
            raise UserError(
                f"{path}, {row.place} names a URI with a password, which would be written into tables: leave it out, "
                "and give it by the store's own environment variables or files."
            )
        return row.name
    if row.name.startswith("/") and not is_uri(path) and "\0" not in row.name:
        return row.name
    check_name(path, row.place, row.name)
    return join(parent(path), row.name.removeprefix("./"))


def _rows(path: str) -> Iterator[_Row]:
    kind = suffix(path)
    if kind == ".parquet":
        yield from _parquet_rows(path)
        return
    for values, place in read_csv(path, _check_columns) if kind == ".csv" else _json_rows(path):
        name = next((values[column] for column in NAMES if values.get(column)), "")
        tags = values.get("tags") or ""
        image_id = next((values[column] for column in IDS if values.get(column)), None)
        yield _Row(image_id, name.strip(), tags.split(";") if isinstance(tags, str) else tags, place)


def _check_columns(path: str, names: list[str]) -> None:
    if names.count("tags") != 1 or not any(names.count(name) == 1 for name in (*NAMES, "bytes")):
        raise UserError(
            f"{path} must have one column tags and one of {', '.join(NAMES)} or, in Parquet, bytes, and has "
            f"{', '.join(names) or 'none'}: rename its columns."
        )


def _json_rows(path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """The known columns of each row, checked, and the place of the row."""
    number = 0
    try:
        with open_binary(path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _checked(path, f"line {number}", json.loads(line.decode("utf-8-sig"))), f"line {number}"
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number} is not JSON in UTF-8: {error}; correct that line.") from error


def _checked(path: str, place: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UserError(f"{path}, {place} holds no object: write one object per line, with file_name and tags.")
    known = {name: row[name] for name in (*NAMES, *IDS, "tags") if row.get(name) is not None}
    for name, value in known.items():
        listed_tags = name == "tags" and isinstance(value, list) and all(isinstance(tag, str) for tag in value)
        if name == "id" and isinstance(value, int):
            known[name] = str(value)
        elif not isinstance(value, str) and not listed_tags:
            raise UserError(f"{path}, {place} holds no text in {name}: write text, or a list of text for tags.")
        if any("\ud800" <= letter <= "\udfff" for text in known[name] for letter in text):
            raise UserError(
                f"{path}, {place} holds half a surrogate pair in {name}, which is not text: correct that line."
            )
    return known


def _parquet_rows(path: str) -> Iterator[_Row]:
    schema, column = _look(path)
    wanted = [name for name in (*IDS, *NAMES, "tags") if name in schema.names]
    if "image" in wanted and not is_text(plain_type(schema, "image")):
        wanted.remove("image")  # it holds bytes, which are not needed for the listing
        if pa.types.is_struct(kind := schema.field("image").type) and kind.get_field_index("path") >= 0:
            wanted.append("image.path")
    table = read_parquet(path, wanted, _check_columns)
    if not is_text(plain_type(table.schema, "tags", items=True)):
        raise UserError(f"{path} must hold text or lists of text in the column tags: convert it.")
    ids = _texts(table, IDS)
    names = _texts(table, NAMES)
    if names is None and "image.path" in wanted:
        names = pc.struct_field(table["image"], "path").to_pylist()
    if column is None and names is None:
        raise UserError(f"{path} must hold text in one of the columns {', '.join(NAMES)}: convert it.")
    for number, tags in enumerate(raw_tags(table)):
        yield _Row(
            ids[number] if ids else None,
            ((names[number] if names else None) or "").strip(),
            tags,
            f"row {number + 1}",
            uris.parquet_uri(path, column, number) if column else None,
        )


def _look(path: str) -> tuple[pa.Schema, str | None]:
    """The schema of a Parquet file, and the one of `uris.COLUMNS` that holds the bytes of images; None if none does."""
    try:
        with open_binary(path) as stream, pq.ParquetFile(stream) as file:
            schema, footer = file.schema_arrow, file.metadata
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}; write it again.") from error
    column = _bytes_column(schema)
    at = next((i for i in range(footer.num_columns) if footer.schema.column(i).path == column), None)
    if column is None or at is None:
        return schema, None
    groups = [footer.row_group(i).column(at) for i in range(footer.num_row_groups)]
    if groups and all(g.statistics is not None and g.statistics.null_count == g.num_values for g in groups):
        return schema, None  # the column of bytes is empty: images are given by name
    largest = max((group.total_uncompressed_size for group in groups), default=0)
    if largest > LARGE:
        said = f"{path}: reading one image reads its row group, of up to {largest >> 20:,} MiB"
        _log.warning("%s", printable(f"{said}; write the file again with row groups of {count(100, 'row')}."))
    return schema, column


def _bytes_column(schema: pa.Schema) -> str | None:
    """The one of `uris.COLUMNS` whose type fits bytes of images; None if there is none."""
    for name in ("bytes", "image"):
        if schema.names.count(name) == 1:
            kind = schema.field(name).type
            if _is_binary(kind):
                return name
            if name == "image" and pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
                return "image.bytes"
    return None


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _texts(table: pa.Table, columns: tuple[str, ...]) -> list[str | None] | None:
    """Values of the first of these columns that holds text; None if none does."""
    for name in columns:
        if table.column_names.count(name) == 1 and is_text(plain_type(table.schema, name)):
            values: list[str | None] = table[name].to_pylist()
            return values
    return None
