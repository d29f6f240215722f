"""What the uri of an image means, and how its bytes are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from irnet_ray.inputs import uris
from irnet_ray.inputs.folder import read_folder
from tests.inputs.formats import png, write
from tests.inputs.test_manifest import parquet


def test_files_by_path_and_by_uri(tmp_path: Path) -> None:
    path = write(tmp_path, "a b.png") / "a b.png"
    assert uris.read_bytes(str(path)) == png()
    assert uris.read_bytes(f"file://{tmp_path}/a%20b.png") == png()
    assert uris.is_path(str(path)) and not uris.is_path(path.as_uri())


def test_part_of_a_tar(tmp_path: Path) -> None:
    path = tmp_path / "a#0:1.tar"
    path.write_bytes(b"0123456789")
    assert uris.read_bytes(uris.tar_uri(str(path), 3, 4)) == b"3456"
    assert uris.read_bytes(uris.tar_uri(path.as_uri().replace("%23", "#").replace("%3A", ":"), 3, 4)) == b"3456"
    with pytest.raises(OSError, match="ends before byte 11"):
        uris.read_bytes(uris.tar_uri(str(path), 3, 8))
    with pytest.raises(FileNotFoundError):
        uris.read_bytes(uris.tar_uri(str(tmp_path / "gone.tar"), 0, 1))


def test_a_parquet_file_that_is_rewritten_is_read_again(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet", {"bytes": [png(0)], "tags": ["dog"]})
    uri = uris.parquet_uri(str(path), "bytes", 0)
    assert uris.read_bytes(uri) == png(0)
    parquet(path, {"bytes": [png(100)], "tags": ["dog"]})
    assert uris.read_bytes(uri) == png(100)
    with pytest.raises(OSError, match="has no row 1"):
        uris.read_bytes(uris.parquet_uri(str(path), "bytes", 1))
    path.write_bytes(b"PAR1")
    with pytest.raises(OSError, match="cannot be read as Parquet"):
        uris.read_bytes(uri)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        uris.read_bytes(uri)


def test_a_row_group_is_read_once_for_its_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = parquet(
        tmp_path / "x.parquet", {"bytes": [png(n) for n in range(12)], "tags": ["dog"] * 12}, row_group_size=4
    )
    groups, real = [], uris._read_group

    def reading(location: str, footer: Any, column: str, group: int) -> pa.ChunkedArray:
        groups.append(group)
        return real(location, footer, column, group)

    monkeypatch.setattr(uris, "_read_group", reading)
    assert read_folder(path, 3)["width"].to_pylist() == list(range(20, 32))
    assert groups == [0, 1, 2]
