"""The rows of a labels table that students train on. Ray Data streams them, and the workers decode them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from irnet_ray.config.sections import Student
from irnet_ray.masks import decode_masks, decode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.tables import Row

if TYPE_CHECKING:
    import ray.data

IGNORED = 255  # in a semantic target: the loss leaves the pixel out


@dataclass(frozen=True)
class LabelRows:
    """What a student trains on: parts of a labels table, without images and instances that its knobs exclude."""

    folder: Folder
    parts: tuple[str, ...]
    held_out: frozenset[str]  # ids of images to leave out
    min_score: float
    min_quality: float
    skip_empty: bool

    @staticmethod
    def of(knobs: Student, folder: Folder, parts: list[str], held_out: frozenset[str] = frozenset()) -> LabelRows:
        """The rows that a student's knobs select."""
        skip = knobs.background == "skip"
        return LabelRows(folder, tuple(parts), held_out, knobs.min_score, knobs.min_quality, skip)

    def keeps(self, instance: Row) -> bool:
        """Whether an instance is good enough to train on."""
        return bool(instance["score"] >= self.min_score and instance["quality"] >= self.min_quality)

    def wanted(self, row: Row) -> bool:
        """Whether to train on an image. Reads the columns `image_id` and `instances` only."""
        if row["image_id"] in self.held_out:
            return False
        return not self.skip_empty or any(self.keeps(instance) for instance in row["instances"])

    def count(self) -> int:
        """The number of images to train on. Only one row group is in memory at a time."""
        if not self.held_out and not self.skip_empty:
            return self.folder.count_rows(self.parts)
        columns = ["image_id", *(["instances"] if self.skip_empty else [])]
        return sum(self.wanted(row) for part in self.parts for row in self.folder.stream_rows(part, columns))

    def dataset(self, columns: list[str]) -> ray.data.Dataset:
        """The wanted images as a lazy Ray dataset with these columns, `image_id` and `instances`."""
        import ray.data

        paths = [f"{self.folder.location}/{part}" for part in self.parts]
        read = sorted({"image_id", "instances", *columns})
        rows = ray.data.read_parquet(paths).select_columns(read)
        if not self.held_out and not self.skip_empty:
            return rows
        return rows.map_batches(self._only_wanted, batch_format="pyarrow")

    def _only_wanted(self, table: pa.Table) -> pa.Table:
        asked = table.select(["image_id", "instances"]).to_pylist()
        return table.filter(pa.array([self.wanted(row) for row in asked], pa.bool_()))


def semantic_target(row: Row, class_of: dict[str, int], rows: LabelRows) -> np.ndarray:
    """The semantic target of a label, uint8 (H, W): 0 background, class number + 1, or `IGNORED`.

    Pixels are ignored if they belong to an instance that is not good enough and to no good one: their class is in
    doubt, and they are not background either. Pixels of a class that the student does not have are ignored too.
    """
    semantic = decode_png(row["semantic"])
    numbers = np.full(256, IGNORED, np.uint8)
    numbers[: 1 + len(row["tags"])] = [0, *(class_of[tag] + 1 if tag in class_of else IGNORED for tag in row["tags"])]
    target = numbers[semantic]
    poor = [instance for instance in row["instances"] if not rows.keeps(instance)]
    if poor:
        good = [instance for instance in row["instances"] if rows.keeps(instance)]
        doubtful = decode_masks(poor, semantic.shape).any(axis=0)
        target[doubtful & ~decode_masks(good, semantic.shape).any(axis=0)] = IGNORED
    return target
