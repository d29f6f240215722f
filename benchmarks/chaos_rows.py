"""Compares the tables of a run with those of a run without interruption."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Rows = dict[str, list[tuple[str, dict[str, Any]]]]  # by image id: names of tables, and rows


@dataclass
class Difference:
    """Ids of the images that interruptions damaged."""

    lost: list[str]
    doubled: list[str]
    differing: list[str]

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.differing)

    def __str__(self) -> str:
        return f"{len(self.lost)} lost, {len(self.doubled)} doubled, {len(self.differing)} differing"


def read_rows(out: Path) -> Rows:
    """All rows of the published labels and errors of a run."""
    found: Rows = {}
    for name in ("labels", "errors"):
        for path in sorted((out / name).glob("*.parquet")):
            for row in pq.read_table(path).to_pylist():
                found.setdefault(row["image_id"], []).append((name, row))
    return found


def compare(expected: Rows, found: Rows) -> Difference:
    """Find the images whose rows are missing, doubled or different."""
    lost = [
        image_id
        for image_id, rows in expected.items()
        if not {name for name, _ in rows} <= {name for name, _ in found.get(image_id, [])}
    ]
    doubled = [image_id for image_id, rows in found.items() if len(rows) > 1]
    differing = [
        image_id
        for image_id, rows in found.items()
        if image_id not in lost and any(row not in expected.get(image_id, []) for row in rows)
    ]
    return Difference(lost, doubled, differing)
