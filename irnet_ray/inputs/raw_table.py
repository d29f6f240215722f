"""Tables as people write them: CSV, JSON and Parquet files become columns of values."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from irnet_ray.errors import UserError, reason
from irnet_ray.inputs import bytes_columns
from irnet_ray.inputs.sniff import is_image_name
from irnet_ray.storage.files import open_binary
from irnet_ray.storage.locations import base_name, suffix

JSON_LINES = (".jsonl", ".ndjson", ".jsonlines", ".jl")
SUFFIXES = (".csv", ".tsv", *JSON_LINES, ".json", ".parquet")
MOST_COLUMNS = 100_000
_DELIMITERS = ",;\t"
_CALLED = {",": "comma", ";": "semicolon", "\t": "tab"}
_HEAD = 1 << 16  # bytes of a .json file that tell what it holds
_MAPPING = re.compile(r'\{\s*"((?:[^"\\]|\\.)+)"\s*:\s*["\[]')


@dataclass(frozen=True)
class RawTable:
    """A table with the names of its columns. Values of CSV are text; others may be numbers, lists or objects."""

    path: str
    columns: list[str]  # distinct, not empty
    rows: int
    values: Callable[[str], list[Any]]  # of a column, in the order of the rows
    place: Callable[[int], str]  # of a row: "line 5", "row 5"
    classes: dict[str, list[str]] = field(default_factory=dict)  # names of the numbers in ClassLabel columns
    bytes_of: str | None = None  # the column of a Parquet file that holds the bytes of images, for `uris.parquet_uri`


def read_raw(path: str) -> RawTable:
    """A table by the extension of its file; by any other name it is JSON. Raises UserError for what cannot be read."""
    kind = suffix(path)
    if kind == ".parquet":
        return _parquet(path)
    return _csv(path) if kind in (".csv", ".tsv") else _json(path)


def is_json(path: str) -> bool:
    """Whether a table is JSON by the extension of its file."""
    return suffix(path) not in (".csv", ".tsv", ".parquet")


def holds_json_lines(path: str) -> bool:
    """Whether the first line of a file, whatever its name is, is a JSON object."""
    try:
        with open_binary(path) as stream:
            line = stream.readline(_HEAD).decode("utf-8-sig")
        return line.lstrip().startswith("{") and isinstance(json.loads(line), dict)
    except (OSError, ValueError, RecursionError):
        return False


def is_json_table(path: str) -> bool:
    """Whether a .json file holds a list of objects, JSON lines, or tags by the names of images, and not COCO."""
    try:
        with open_binary(path) as stream:
            head = stream.read(_HEAD).decode("utf-8-sig", "replace").lstrip()
    except OSError:
        return False
    if head.startswith("["):
        return head[1:].lstrip().startswith("{")
    mapping = _MAPPING.match(head)
    if mapping is not None and is_image_name(mapping[1]):
        return True
    line, _, rest = head.partition("\n")
    try:
        return isinstance(json.loads(line), dict) and rest.lstrip().startswith("{")
    except (ValueError, RecursionError):
        return False


def header(path: str) -> list[str]:
    """Names of the columns of a table; none if they cannot be read."""
    try:
        if suffix(path) == ".parquet":
            with open_binary(path) as stream:
                return list(pq.read_schema(stream).names)
        with open_binary(path) as stream:
            line = stream.readline(1 << 20).decode("utf-8-sig")
            if line.startswith("sep="):
                line = stream.readline(1 << 20).decode("utf-8")
        if suffix(path) in (".csv", ".tsv"):
            return [name.strip() for name in next(csv.reader([line], delimiter=_delimiter(line)), [])]
        if suffix(path) == ".json":
            return ["image", "tags"] if is_json_table(path) else []
        found = json.loads(line)
        return list(found) if isinstance(found, dict) else []
    except (OSError, ValueError, RecursionError, csv.Error, pa.ArrowException):
        return []


def _delimiter(line: str) -> str:
    """What separates the names in the first line of a CSV file; spreadsheets write ';' or tabs in many countries."""
    if line.startswith("sep=") and len(line.rstrip("\r\n")) == 5:
        return line[4]
    parts = {mark: len(next(csv.reader([line], delimiter=mark), [])) for mark in _DELIMITERS}
    return max(_DELIMITERS, key=lambda mark: parts[mark])


def _csv(path: str) -> RawTable:
    lines: list[int] = []
    rows: list[list[str]] = []
    try:
        with io.TextIOWrapper(open_binary(path), encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            if "\0" in first:
                raise UserError(f"{path} is not UTF-8 text (it begins with null characters): save it as UTF-8.")
            delimiter = _delimiter(first)
            before = 1 if first.startswith("sep=") else 0
            if not before:
                stream.seek(0)
            advice = "separate tags by '|'" if delimiter == ";" else "separate tags by ';'"
            reader = csv.reader(stream, delimiter=delimiter, strict=True)
            names = [name.strip() for name in next(reader, [])]
            _check_header(path, names)
            for values in reader:
                if not values:
                    continue
                line = reader.line_num + before
                if len(values) != len(names):
                    raise UserError(
                        f"{path}, line {line} has {len(values)} values where the header has {len(names)}: "
                        f"{advice} and quote names that hold a {_CALLED.get(delimiter, delimiter)}."
                    )
                lines.append(line)
                # Tags and numbers repeat in millions of rows: each is kept once.
                rows.append([sys.intern(value.strip()) if len(value) < 100 else value.strip() for value in values])
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error
    except csv.Error as error:
        at = reader.line_num + before if "reader" in locals() else 1
        raise UserError(f"{path} cannot be read as CSV at line {at}: {error}; correct that line.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; check its permissions.") from error
    columns = {name: number for number, name in enumerate(names) if name}
    for number, name in enumerate(names):
        if not name and not _is_index([row[number] for row in rows]):
            raise UserError(
                f"{path} has values in a column without a name, number {number + 1}: name it, or delete it."
            )
    return RawTable(
        path,
        list(columns),
        len(rows),
        lambda name: [row[columns[name]] for row in rows],
        lambda row: f"line {lines[row]}",
    )


def _is_index(values: list[str]) -> bool:
    """Whether a column is empty or only numbers the rows, as the first column that pandas writes."""
    return not any(values) or all(value.isdecimal() for value in values)


def _check_header(path: str, names: list[str]) -> None:
    if len(names) > MOST_COLUMNS:
        raise UserError(f"{path} has {len(names):,} columns: at most {MOST_COLUMNS:,} can be read.")
    twice = next((name for name in names if name and names.count(name) > 1), None) if len(names) < 10_000 else None
    if twice is not None:
        raise UserError(f"{path} must have one column {twice}, and has several: rename its columns.")


def _json(path: str) -> RawTable:
    whole = suffix(path) == ".json" and _is_one_value(path)
    rows, places = [], []
    for row, place in _json_document(path) if whole else _json_lines(path):
        rows.append(row)
        places.append(place)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return RawTable(path, columns, len(rows), lambda name: [row.get(name) for row in rows], lambda row: places[row])


def _is_one_value(path: str) -> bool:
    try:
        with open_binary(path) as stream:
            head = stream.read(_HEAD).decode("utf-8-sig", "replace").lstrip()
    except OSError:
        return False
    mapping = _MAPPING.match(head)
    return head.startswith("[") or (mapping is not None and is_image_name(mapping[1]))


def _json_document(path: str) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        with open_binary(path) as stream:
            content = json.loads(stream.read().decode("utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON in UTF-8: {error}; write it again.") from error
    if isinstance(content, dict):
        content = [{"image": name, "tags": tags} for name, tags in content.items()]
    for number, row in enumerate(content if isinstance(content, list) else [], start=1):
        place = f"row {number}"
        yield _object(path, place, row), place


def _json_lines(path: str) -> Iterator[tuple[dict[str, Any], str]]:
    number = 0
    try:
        with open_binary(path) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _object(path, f"line {number}", json.loads(line.decode("utf-8-sig"))), f"line {number}"
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, line {number} is not JSON in UTF-8: {error}; correct that line.") from error


def _object(path: str, place: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UserError(f"{path}, {place} holds no object: write one object per line, with file_name and tags.")
    return {name: value for name, value in row.items() if name.strip()}


def _parquet(path: str) -> RawTable:
    try:
        with open_binary(path) as stream, pq.ParquetFile(stream) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            bytes_of = bytes_columns.find(path, file)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {reason(error)}; write it again.") from error
    _check_header(path, schema.names)
    shown: dict[str, str] = {}  # the column of the file for each of ours
    for name in schema.names:
        kind = schema.field(name).type
        if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            if kind.get_field_index("path") >= 0:
                shown[name] = f"{name}.path"
        elif name.strip() and not bytes_columns.is_binary(kind):
            shown[name] = name
    return RawTable(
        path,
        list(shown),
        rows,
        lambda name: _column(path, shown[name], rows),
        lambda row: f"row {row + 1}",
        _class_names(schema),
        bytes_of,
    )


def _column(path: str, name: str, rows: int) -> list[Any]:
    try:
        with open_binary(path) as stream, pq.ParquetFile(stream) as file:
            column = file.read([name]).column(0)
        column.validate(full=True)  # otherwise text that is not UTF-8 would fail later, on its way to Python
        values = column.to_pylist()
        if len(values) != rows:
            raise ValueError(f"the column {name} has {len(values):,} of {rows:,} rows")
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {reason(error)}; write it again.") from error
    if name.endswith(".path"):
        return [value and value.get("path") for value in values]
    return values


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes that numbers stand for, from the metadata that Hugging Face's `datasets` writes."""
    try:
        content = json.loads((schema.metadata or {})[b"huggingface"])
        features = content["info"]["features"]
        found = {name: _names(feature) for name, feature in features.items() if name in schema.names}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
    return {name: names for name, names in found.items() if names}


def _names(feature: Any) -> list[str]:
    """The names of a ClassLabel, or of the first one inside a list or an object."""
    if isinstance(feature, dict):
        names = feature.get("names")
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return names
    inside = feature.values() if isinstance(feature, dict) else feature if isinstance(feature, list) else ()
    return next((found for value in inside if (found := _names(value))), [])


def file_name(path: str) -> str:
    """The name of a table, for sentences."""
    return base_name(path)
