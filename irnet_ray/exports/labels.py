"""The labels of a finished run as an export reads them: row group by row group, instances already chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.tables import Row


@dataclass(frozen=True)
class Labeled:
    """One image: its number from 1 in order of `image_id`, its row, its chosen instances and the others' by reason."""

    number: int
    row: Row
    kept: list[Row]  # of tables.INSTANCE, in the row's order
    left_out: dict[str, list[Row]]

    def fewer(self, reason: str, most: int) -> Labeled:
        """The same with the `most` instances of the highest score; the others are left out for a reason."""
        if len(self.kept) <= most:
            return self
        ranked = sorted(range(len(self.kept)), key=lambda place: -self.kept[place]["score"])
        best = sorted(ranked[:most])
        rest = [self.kept[place] for place in sorted(ranked[most:])]
        return Labeled(self.number, self.row, [self.kept[place] for place in best], {**self.left_out, reason: rest})


@dataclass
class Counts:
    """What an export holds, and what it does not."""

    images: int = 0
    empty: int = 0  # of the images, those without an annotation
    validation: int = 0  # of the images, those set aside for validation
    annotations: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # instances by reason

    def add(self, image: Labeled) -> None:
        """Count one exported image."""
        self.images += 1
        self.empty += not image.kept
        self.annotations += len(image.kept)
        self.left_out.update({reason: len(instances) for reason, instances in image.left_out.items()})


@dataclass(frozen=True)
class Labels:
    """The rows of `tables.LABELS` in a folder of Parquet files, and which of their instances are wanted."""

    rows: Folder
    vocabulary: list[str]
    min_quality: float = 0.0
    min_score: float = 0.0

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each class, from 1, in the vocabulary's order."""
        return {name: number for number, name in enumerate(self.vocabulary, start=1)}

    @cached_property
    def images(self) -> pa.Table:
        """`image_id`, `uri`, `width` and `height` of every image, in order of `image_id`: row n - 1 is image n."""
        return self._unsorted.take(self._order)

    def stream(self, columns: list[str]) -> Iterator[Labeled]:
        """Every image with some columns of its row; no more than a row group is in memory."""
        numbers = np.empty(len(self._order), dtype=np.int64)
        numbers[self._order.to_numpy()] = np.arange(1, len(numbers) + 1)
        place = 0
        for name in self.rows.files():
            for row in self.rows.stream_rows(name, [*columns, "instances"]):
                named = {instance["class_name"] for instance in row["instances"]} | set(row.get("tags", ()))
                if not named <= self.numbers.keys():
                    raise UserError(
                        f"{self.rows.location}/{name} holds the class {min(named - self.numbers.keys())!r}, which the "
                        "run's current.json does not name: label again with the run's own command, which mends it."
                    )
                yield self._choose(int(numbers[place]), row)
                place += 1

    @cached_property
    def _unsorted(self) -> pa.Table:
        columns = ["image_id", "uri", "width", "height"]
        return pa.concat_tables(self.rows.read_table(name, columns) for name in self.rows.files())

    @cached_property
    def _order(self) -> pa.Array:
        return pc.sort_indices(self._unsorted["image_id"])

    def _choose(self, number: int, row: Row) -> Labeled:
        kept: list[Row] = []
        left_out: dict[str, list[Row]] = {}
        for instance in row["instances"]:
            reason = self._why_not(instance)
            (left_out.setdefault(reason, []) if reason else kept).append(instance)
        return Labeled(number, row, kept, left_out)

    def _why_not(self, instance: Row) -> str:
        if instance["quality"] < self.min_quality:
            return f"of quality below {self.min_quality:g}"
        if instance["score"] < self.min_score:
            return f"of score below {self.min_score:g}"
        return "" if instance["area"] else "without a pixel"
