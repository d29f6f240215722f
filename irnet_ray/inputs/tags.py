"""The tags file of a data folder: `tags.csv` or `tags.parquet` with the columns `image` and `tags`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from irnet_ray.errors import UserError

COLUMNS = ("image", "tags")
MAX_TAGS = 254  # class maps are uint8: 0 is background and 255 is unsure


@dataclass(frozen=True)
class Tagged:
    """One row: the image as listed, its distinct tags in order, and where it stands: "line 5" or "row 5"."""

    image: str
    tags: list[str]
    place: str


def find_tags_file(folder: Path) -> Path:
    """The folder's one tags file; UserError where there is none, or both."""
    found = _tags_files(folder)
    if not found:
        raise UserError(
            f"{folder} has no tags.csv and no tags.parquet: add one with the columns image,tags "
            "(tags separated by ';')."
        )
    if len(found) == 2:
        raise UserError(f"{folder} has both tags.csv and tags.parquet: keep the one that is right.")
    return found[0]


def has_tags_file(folder: Path) -> bool:
    """Whether the folder's images have tags."""
    return bool(_tags_files(folder))


def _tags_files(folder: Path) -> list[Path]:
    return [path for path in (folder / "tags.csv", folder / "tags.parquet") if path.is_file()]


def read_tags(path: Path) -> list[Tagged]:
    """Rows of a tags file in its order; UserError for the first thing wrong in it."""
    rows: list[Tagged] = []
    seen: dict[str, str] = {}
    for image, tags, place in _parquet_rows(path) if path.suffix == ".parquet" else _csv_rows(path):
        distinct = list(dict.fromkeys(tag for tag in (tag.strip() for tag in tags) if tag))
        _check_row(path, place, image, distinct)
        if image in seen:
            raise UserError(f"{path} lists {image} twice, on {seen[image]} and {place}: keep one row an image.")
        seen[image] = place
        rows.append(Tagged(image, distinct, place))
    if not rows:
        raise UserError(f"{path} lists no images: add a row for each.")
    return rows


def _check_row(path: Path, place: str, image: str, tags: list[str]) -> None:
    if not image:
        raise UserError(f"{path}, {place} names no image: fill it in, or delete the row.")
    name = PurePosixPath(image)
    if name.is_absolute() or ".." in name.parts or "\0" in image:
        raise UserError(f"{path}, {place} names {image!r}: image names must be paths below the folder, without '..'.")
    if not tags:
        raise UserError(
            f"{path}, {place} gives {image} no tags: add at least one, or leave the image out of the folder."
        )
    if len(tags) > MAX_TAGS:
        raise UserError(f"{path}, {place} gives {image} {len(tags)} tags: at most {MAX_TAGS} fit one image.")


def _check_columns(path: Path, names: list[str]) -> None:
    missing = [column for column in COLUMNS if names.count(column) != 1]
    if missing:
        raise UserError(
            f"{path} must have one column {' and one column '.join(missing)}, and has "
            f"{', '.join(names) or 'none'}: name its columns image,tags."
        )


def _csv_rows(path: Path) -> Iterator[tuple[str, Iterable[str], str]]:
    """(image, raw tags, place) of each row; blank lines are skipped."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            names = [name.strip() for name in next(reader, [])]
            _check_columns(path, names)
            image_at, tags_at = names.index("image"), names.index("tags")
            for values in reader:
                if not values:
                    continue
                place = f"line {reader.line_num}"
                if len(values) != len(names):
                    raise UserError(
                        f"{path}, {place} has {len(values)} values where the header has {len(names)}: "
                        "separate tags by ';' and quote names that hold a comma."
                    )
                yield values[image_at].strip(), values[tags_at].split(";"), place
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error
    except csv.Error as error:
        raise UserError(
            f"{path} cannot be read as CSV at line {reader.line_num}: {error}; correct that line."
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; check its permissions.") from error


def _parquet_rows(path: Path) -> Iterator[tuple[str, Iterable[str], str]]:
    """(image, raw tags, place) of each row; rows count from 1."""
    try:
        _check_columns(path, pq.read_schema(path).names)
        table = pq.read_table(path, columns=list(COLUMNS), partitioning=None)
        table.validate(full=True)  # text that is not UTF-8 would be met only on the way to Python
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as Parquet: {error}; write it again.") from error
    image_type, tags_type = _plain(table.schema.field("image").type), _plain(table.schema.field("tags").type)
    listed = isinstance(tags_type, pa.ListType | pa.LargeListType)
    text = _plain(tags_type.value_type) if listed else tags_type
    if not _is_text(image_type) or not _is_text(text):
        raise UserError(
            f"{path} must hold text in the column image and text or lists of text in tags, and holds "
            f"{image_type} and {tags_type}: convert them."
        )
    pairs = zip(table["image"].to_pylist(), table["tags"].to_pylist(), strict=True)
    for number, (image, tags) in enumerate(pairs, start=1):
        values = (tags or "").split(";") if not listed else [tag or "" for tag in tags or []]
        yield (image or "").strip(), values, f"row {number}"


def _plain(kind: pa.DataType) -> pa.DataType:
    """The values' type of a dictionary-encoded column."""
    return kind.value_type if isinstance(kind, pa.DictionaryType) else kind


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
