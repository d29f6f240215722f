"""The labels of a finished run as an export reads them: one row group at a time, with the instances that are wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from irnet_ray.errors import UserError
from irnet_ray.exports import splits
from irnet_ray.runs.folder import Folder
from irnet_ray.tables import Row


@dataclass(frozen=True)
class Labeled:
    """One image, with its instances divided into those that are exported and those that are left out."""

    number: int  # from 1, in order of `image_id`
    row: Row
    kept: list[Row]  # of `tables.INSTANCE`, in the row's order
    left_out: dict[str, list[Row]]  # by reason

    def fewer(self, reason: str, most: int) -> Labeled:
        """The same image with only the `most` instances of the highest score; the rest is left out for `reason`."""
        if len(self.kept) <= most:
            return self
        ranked = sorted(range(len(self.kept)), key=lambda place: -self.kept[place]["score"])
        best = sorted(ranked[:most])
        rest = [self.kept[place] for place in sorted(ranked[most:])]
        return Labeled(self.number, self.row, [self.kept[place] for place in best], {**self.left_out, reason: rest})


@dataclass
class Counts:
    """How much was exported, and how much was left out."""

    images: int = 0
    empty: int = 0  # images without an annotation
    annotations: int = 0
    left_out: Counter[str] = field(default_factory=Counter)  # instances by reason
    images_left_out: Counter[str] = field(default_factory=Counter)  # by reason
    missing: int = 0  # exported images whose file is not there, so that their link leads nowhere
    turned: int = 0  # exported images of which upright copies were made
    splits: Counter[str] = field(default_factory=Counter)  # images by split, of a format that has splits
    notes: list[str] = field(default_factory=list)  # sentences that the user must know

    def add(self, image: Labeled, split: str | None = None) -> None:
        """Count one exported image, in its split where the format has splits."""
        self.images += 1
        if split is not None:
            self.splits[split] += 1
        self.empty += not image.kept
        self.annotations += len(image.kept)
        self.left_out.update({reason: len(instances) for reason, instances in image.left_out.items()})


@dataclass(frozen=True)
class Labels:
    """The rows of `tables.LABELS` in a folder of Parquet files, and the thresholds for their instances."""

    rows: Folder
    vocabulary: list[str]
    min_quality: float = 0.0
    min_score: float = 0.0
    shares: Mapping[str, float] | None = None  # of the images, by split; None: the user named none
    category_ids: Mapping[str, Any] = field(default_factory=dict)  # COCO's own, where the images come from a COCO file
    source_ids: Mapping[str, Any] = field(default_factory=dict)  # COCO's own ids of the images, by `image_id`

    def split(self, image_id: str) -> str:
        """The split of an image; without `shares`, a tenth of the images is "val" and the rest "train"."""
        return splits.split_of(image_id, self.shares or splits.DEFAULT)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Number of each class, from 1, in the vocabulary's order."""
        return {name: number for number, name in enumerate(self.vocabulary, start=1)}

    @cached_property
    def images(self) -> pa.Table:
        """`image_id`, `uri`, `width` and `height` of every image in order of `image_id`: row n - 1 is image n."""
        return self._unsorted.take(self._order)

    def stream(self, columns: list[str]) -> Iterator[Labeled]:
        """Yield every image with these columns of its row, in the order of the files.

        At most one row group is in memory. Raises UserError for a class that is not in the vocabulary.
        """
        numbers = np.empty(len(self._order), dtype=np.int64)
        numbers[self._order.to_numpy()] = np.arange(1, len(numbers) + 1)
        place = 0
        for name in self.rows.files():
            for row in self.rows.stream_rows(name, [*columns, "instances"]):
                named = {instance["class_name"] for instance in row["instances"]} | set(row.get("tags", ()))
                if not named <= self.numbers.keys():
                    raise UserError(
                        f"{self.rows.location}/{name} holds the class {min(named - self.numbers.keys())!r}, which the "
                        "run's current.json does not name: run the command that labeled it again, which repairs it."
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
