"""The comparison of two runs' labels sees one changed byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks import same_labels
from irnet_ray.runs.run import FinishedRun


def compared(monkeypatch: pytest.MonkeyPatch, *runs: Path) -> int:
    monkeypatch.setattr("sys.argv", ["same_labels", *map(str, runs)])
    return same_labels.main()


def test_a_changed_row_is_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(source, other, symlinks=True)
    assert compared(monkeypatch, source, other) == 0
    rows = FinishedRun.open(other).shards("labels").rows
    name = next(name for name in rows.files() if rows.count_rows([name]))
    table = rows.read_table(name).to_pylist()
    table[0]["semantic"] = table[0]["semantic"][:-1] + b"\0"
    schema = rows.read_table(name).schema
    rows.write_table(name, type(rows.read_table(name)).from_pylist(table, schema))
    capsys.readouterr()
    assert compared(monkeypatch, source, other) == 1
    assert f"\n  {table[0]['image_id']}\n" in capsys.readouterr().out
