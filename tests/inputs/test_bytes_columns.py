"""Which column of a Parquet file holds images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from irnet_ray.inputs import bytes_columns

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"bytes": [b"x"], "image": ["a"]}, "bytes"),
        ({"image": pa.array([b"x"], pa.large_binary())}, "image"),
        ({"img": pa.array([{"bytes": b"x", "path": "a"}], STRUCT)}, "img.bytes"),
        ({"image": pa.array([{"bytes": None, "path": "a"}], STRUCT)}, None),
        ({"image": ["a.png"]}, None),
        ({"other": [b"x"]}, None),
        ({"image": pa.array([{"path": "a"}])}, None),
    ],
)
def test_the_column(tmp_path: Path, columns: dict[str, Any], found: str | None) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pq.ParquetFile(tmp_path / "a.parquet") as file:
        assert bytes_columns.find("a.parquet", file) == found


def test_large_row_groups_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(bytes_columns, "LARGE", 10)
    pq.write_table(pa.table({"bytes": [b"x" * 99]}), tmp_path / "a.parquet")
    with caplog.at_level(logging.WARNING), pq.ParquetFile(tmp_path / "a.parquet") as file:
        bytes_columns.find("a.parquet", file)
    assert "write the file again with row groups of 100 rows" in caplog.text
