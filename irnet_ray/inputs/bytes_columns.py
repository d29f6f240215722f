"""Finds the column of a Parquet file that holds the bytes of images."""

from __future__ import annotations

import logging

import pyarrow as pa
import pyarrow.parquet as pq

from irnet_ray.errors import printable
from irnet_ray.inputs.uris import COLUMNS
from irnet_ray.text import count

LARGE = 64 << 20  # bytes of images in a row group; reading one image reads its whole row group

_log = logging.getLogger(__name__)


def find(path: str, file: pq.ParquetFile) -> str | None:
    """The one of `uris.COLUMNS` that holds images; None if there is none, or if it is empty."""
    footer, column = file.metadata, _by_type(file.schema_arrow)
    at = next((i for i in range(footer.num_columns) if footer.schema.column(i).path == column), None)
    if column is None or at is None:
        return None
    groups = [footer.row_group(i).column(at) for i in range(footer.num_row_groups)]
    if groups and all(g.statistics is not None and g.statistics.null_count == g.num_values for g in groups):
        return None  # images are given by name
    largest = max((group.total_uncompressed_size for group in groups), default=0)
    if largest > LARGE:
        said = f"{path}: reading one image reads its row group, of up to {largest >> 20:,} MiB"
        _log.warning("%s", printable(f"{said}; write the file again with row groups of {count(100, 'row')}."))
    return column


def _by_type(schema: pa.Schema) -> str | None:
    """The first of `uris.COLUMNS` whose type fits bytes of images; None if there is none."""
    for column in COLUMNS:
        name, _, inside = column.partition(".")
        if schema.names.count(name) == 1:
            kind = schema.field(name).type
            if is_binary(kind) if not inside else pa.types.is_struct(kind) and kind.get_field_index(inside) >= 0:
                return column
    return None


def is_binary(kind: pa.DataType) -> bool:
    """Whether a column's values are bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
