"""Rows of a labels table as students train on them: filtered, streamed by Ray Data, decoded in the workers."""

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

IGNORED = 255  # of a semantic target: pixels that teach nothing


@dataclass(frozen=True)
class LabelRows:
    """What a student trains on: some parts of a labels table without some of their images and instances."""

    folder: Folder
    parts: tuple[str, ...]
    held_out: frozenset[str]  # ids of images that are left out
    min_score: float
    min_quality: float
    skip_empty: bool

    @staticmethod
    def of(knobs: Student, folder: Folder, parts: list[str], held_out: frozenset[str] = frozenset()) -> LabelRows:
        """The rows that a student's knobs let through."""
        skip = knobs.background == "skip"
        return LabelRows(folder, tuple(parts), held_out, knobs.min_score, knobs.min_quality, skip)

    def keeps(self, instance: Row) -> bool:
        """Whether an instance is good enough to learn from."""
        return bool(instance["score"] >= self.min_score and instance["quality"] >= self.min_quality)

    def wanted(self, row: Row) -> bool:
        """Whether an image is one to learn from; asks for the columns `image_id` and `instances` only."""
        if row["image_id"] in self.held_out:
            return False
        return not self.skip_empty or any(self.keeps(instance) for instance in row["instances"])

    def count(self) -> int:
        """How many images there are to learn from; no more than a row group is in memory."""
        if not self.held_out and not self.skip_empty:
            return self.folder.count_rows(self.parts)
        columns = ["image_id", *(["instances"] if self.skip_empty else [])]
        return sum(self.wanted(row) for part in self.parts for row in self.folder.stream_rows(part, columns))

    def dataset(self, columns: list[str]) -> ray.data.Dataset:
        """The wanted images as a lazy data set of these columns."""
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
    """Uint8 (H, W) of a label: 0 background, its class's number + 1, or `IGNORED`.

    Ignored are the pixels of instances that are not good enough, where no better one of the class lies: they are
    of the class less surely than the rest, and not background either. So are classes that the student has not.
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
