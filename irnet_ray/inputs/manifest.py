"""Manifests: Parquet, CSV or JSON lines with an image in every row, by its uri or, in Parquet, by its bytes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from irnet_ray.errors import UserError, printable
from irnet_ray.inputs import uris
from irnet_ray.inputs.images_table import Listed, count
from irnet_ray.inputs.tags import check_name, check_tags, clean, is_text, plain_type, raw_tags, read_csv, read_parquet
from irnet_ray.storage import files as storage

SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
NAMES = ("uri", "file_name", "path", "image")  # columns of text that name an image, the first that is there
IDS = ("image_id", "id")
LARGE = 64 << 20  # bytes of images in a row group: what is read for one image

_log = logging.getLogger(__name__)


class _Row(NamedTuple):
    image_id: str | None
    name: str  # "" where there is none
    tags: Iterable[str]
    place: str
    uri: str | None = None  # of the bytes in a Parquet file


def listed(files: Sequence[tuple[str, str]]) -> list[Listed]:
    """Every row of some manifests, given by the name that ids may begin with and their location.

    An id is the column `image_id` where there is one, else the image's name as listed, else file and row.
    """
    rows = [(name, path, row) for name, path in files for row in _rows(path)]
    if not rows:
        raise UserError(f"{files[0][1]} lists no images: add a row for each.")
    ids = _ids([(name, row) for name, _, row in rows])
    images: list[Listed] = []
    seen: dict[str, str] = {}
    for image_id, (_, path, row) in zip(ids, rows, strict=True):
        if image_id in seen:
            raise UserError(
                f"{path} lists {image_id} twice, on {seen[image_id]} and {row.place}: keep one row an image."
            )
        seen[image_id] = row.place
        tags = clean(row.tags)
        check_tags(path, row.place, image_id, tags)
        images.append(Listed(image_id, tags, row.uri or _uri(path, row)))
    return images


def _ids(rows: list[tuple[str, _Row]]) -> list[str]:
    given = [row.image_id or row.name for _, row in rows]
    if any(row.uri for _, row in rows) and (not all(given) or len(set(given)) < len(given)):
        # Names of bytes are only labels: they may be missing or come again in the next file.
        return [row.image_id or f"{name}/{row.place.removeprefix('row ').zfill(8)}" for name, row in rows]
    return given


def _uri(path: str, row: _Row) -> str:
    """Where a named image lies: relative names lie beside the manifest."""
    if not row.name:
        raise UserError(f"{path}, {row.place} names no image: fill it in, or delete the row.")
    if storage.is_uri(row.name):
        return row.name
    if row.name.startswith("/") and not storage.is_uri(path) and "\0" not in row.name:
        return row.name
    check_name(path, row.place, row.name)
    return storage.join(storage.parent(path), row.name.removeprefix("./"))


def _rows(path: str) -> Iterator[_Row]:
    kind = storage.suffix(path)
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
    """Columns of each row that manifests know, checked, and its place."""
    number = 0
    try:
        with storage.open_binary(path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _checked(path, f"line {number}", json.loads(line.decode("utf-8-sig"))), f"line {number}"
    except OSError as error:
        raise UserError(f"{path} cannot be read: {storage.reason(error)}; check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number} is not JSON in UTF-8: {error}; correct that line.") from error


def _checked(path: str, place: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UserError(f"{path}, {place} holds no object: write one a line, with file_name and tags.")
    known = {name: row[name] for name in (*NAMES, *IDS, "tags") if row.get(name) is not None}
    for name, value in known.items():
        listed_tags = name == "tags" and isinstance(value, list) and all(isinstance(tag, str) for tag in value)
        if name == "id" and isinstance(value, int):
            known[name] = str(value)
        elif not isinstance(value, str) and not listed_tags:
            raise UserError(f"{path}, {place} holds no text in {name}: write text, or for tags a list of it.")
        if any("\ud800" <= letter <= "\udfff" for text in known[name] for letter in text):
            raise UserError(f"{path}, {place} holds half a letter in {name}, which UTF-8 cannot: correct that line.")
    return known


def _parquet_rows(path: str) -> Iterator[_Row]:
    schema, column = _look(path)
    wanted = [name for name in (*IDS, *NAMES, "tags") if name in schema.names]
    if "image" in wanted and not is_text(plain_type(schema, "image")):
        wanted.remove("image")  # of bytes, which are not to be read yet
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
    """A Parquet file's schema, and the one of `uris.COLUMNS` that holds images' bytes, if any does."""
    try:
        with storage.open_binary(path) as stream, pq.ParquetFile(stream) as file:
            schema, footer = file.schema_arrow, file.metadata
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}; write it again.") from error
    column = _bytes_column(schema)
    at = next((i for i in range(footer.num_columns) if footer.schema.column(i).path == column), None)
    if column is None or at is None:
        return schema, None
    groups = [footer.row_group(i).column(at) for i in range(footer.num_row_groups)]
    if groups and all(g.statistics is not None and g.statistics.null_count == g.num_values for g in groups):
        return schema, None  # names beside a column of bytes that nobody has filled
    largest = max((group.total_uncompressed_size for group in groups), default=0)
    if largest > LARGE:
        said = f"{path}: reading one image reads its row group, of up to {largest >> 20:,} MiB"
        _log.warning("%s", printable(f"{said}; write the file again with row groups of {count(100, 'row')}."))
    return schema, column


def _bytes_column(schema: pa.Schema) -> str | None:
    """The one of `uris.COLUMNS` that the images' bytes are in; None where there is none."""
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
    """Values of the first of the columns that holds text."""
    for name in columns:
        if table.column_names.count(name) == 1 and is_text(plain_type(table.schema, name)):
            values: list[str | None] = table[name].to_pylist()
            return values
    return None
