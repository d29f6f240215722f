"""Export the labels of a finished run in another format, for training elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from irnet_ray.commands.defaults import MIN_QUALITY, MIN_SCORE
from irnet_ray.engine.progress import Reading, display
from irnet_ray.errors import UserError, reason
from irnet_ray.exports.formats import FORMATS
from irnet_ray.exports.labels import Counts, Labels
from irnet_ray.exports.splits import parse
from irnet_ray.runs.run import FinishedRun


@dataclass(frozen=True)
class Export:
    """What was exported, what was left out, and where the export is."""

    images: int
    images_without_annotation: int
    train: int  # images; 0 in a format without splits
    val: int
    test: int
    annotations: int
    classes: int
    left_out: dict[str, int]  # instances by reason
    images_left_out: dict[str, int]  # by reason; `images` does not count them
    notes: list[str]  # what the user must know beside the numbers
    path: Path  # the file or folder to give to a trainer

    def summary(self) -> str:
        """Aligned lines for a person."""
        total = f"{self.images:,} images, {self.annotations:,} annotations, {self.classes:,} classes"
        lines = [total, *(f"left out  {number:,} {reason}" for reason, number in self.left_out.items())]
        if self.images_without_annotation:
            lines.append(f"empty     {self.images_without_annotation:,} images without an annotation")
        lines += [f"left out  {number:,} images {reason}" for reason, number in self.images_left_out.items()]
        if self.train or self.val or self.test:
            test = f", {self.test:,} to test" if self.test else ""
            lines.append(f"split     {self.train:,} to train, {self.val:,} to val{test}")
        return "\n".join([*lines, *(f"note      {note}" for note in self.notes), f"written   {self.path}"])


def export(
    labels: str | Path,
    format: str,
    out: str | Path,
    *,
    min_quality: float = MIN_QUALITY,
    min_score: float = MIN_SCORE,
    split: str | None = None,
    console: Console | None = None,
) -> Export:
    """Write the labels of a finished run in another format.

    All labeled images are exported, even those without an instance; images that a format's readers cannot open are
    counted as left out. Masks match the images as people see them, with the EXIF orientation applied.

    Args:
        labels: a run directory with a finished run, or its `labels` folder.
        format: a name in `exports.formats.FORMATS`: `coco` for `out/instances.json`, `voc` for `out/VOC`, `yolo` for
            `out/data.yaml` and its folders.
        out: a new or empty folder. It appears only when it is complete.
        min_quality: leave out instances of a lower quality, in [0, 1].
        min_score: leave out instances with a lower score, in [0, 1].
        split: shares of the images, such as `train=0.8,val=0.1,test=0.1`. An image's split follows from a hash of its
            id alone. None is a tenth to val and the rest to train, and for `coco` one file without splits.
        console: where the progress goes.

    Raises:
        UserError: an unknown format, wrong shares, no finished run or no label in it, a folder that is not empty or
            cannot be written, or labels that the format cannot hold. Nothing is left behind.
    """
    if format not in FORMATS:
        raise UserError(f"Unknown format {format!r}: the formats are {', '.join(FORMATS)}.")
    for name, value in (("--min-quality", min_quality), ("--min-score", min_score)):
        if not 0 <= value <= 1:
            raise UserError(f"{name} must be between 0 and 1, got {value:g}.")
    shares = None if split is None else parse(split)
    chosen = replace(_open(labels, min_quality, min_score), shares=shares)
    target = _target(out)
    check = FORMATS[format].check
    if check is not None:
        check(chosen)
    counts = Counts()
    with (
        _whole(target) as folder,
        display("export", "images", lambda: Reading(counts.images, len(chosen.images)), console or Console()),
    ):
        path = target / FORMATS[format].write(chosen, folder, target, counts)
    return Export(
        images=counts.images,
        images_without_annotation=counts.empty,
        train=counts.splits["train"],
        val=counts.splits["val"],
        test=counts.splits["test"],
        annotations=counts.annotations,
        classes=len(chosen.vocabulary),
        left_out=dict(counts.left_out),
        images_left_out=dict(counts.images_left_out),
        notes=[*counts.notes, *_notes(counts)],
        path=path,
    )


def _notes(counts: Counts) -> Iterator[str]:
    if counts.missing:
        yield f"{counts.missing:,} of the images are not where they were labeled: their links lead nowhere"
    if counts.turned:
        yield f"{counts.turned:,} of the images are upright copies, because not all readers heed EXIF orientation"


def _open(labels: str | Path, min_quality: float, min_score: float) -> Labels:
    run = FinishedRun.open(labels)
    found = Labels(
        run.shards("labels").rows,
        run.vocabulary,
        min_quality,
        min_score,
        category_ids=run.version.category_ids,
        source_ids=_source_ids(run) if run.version.category_ids else {},
    )
    if not len(found.images):
        raise UserError(f"The run in {run.folder.location} has no labels to export: its errors table says why.")
    return found


def _source_ids(run: FinishedRun) -> dict[str, Any]:
    """COCO's own ids of all images; none if an image has none."""
    found: dict[str, Any] = {}
    rows = run.shards("images").rows
    for name in rows.files():
        table = rows.read_table(name)
        if "source_id" not in table.column_names or table["source_id"].null_count:
            return {}
        ids = map(json.loads, table["source_id"].to_pylist())
        found.update(zip(table["image_id"].to_pylist(), ids, strict=True))
    return found


def _target(out: str | Path) -> Path:
    """The path of the folder to make, after checking that it is absent or empty."""
    target = Path(os.path.realpath(out))
    try:
        if target.exists() and any(target.iterdir()):
            raise UserError(f"{out} is not empty: name a new folder, or empty this one.")
    except OSError as error:
        raise UserError(f"Cannot write to {out}: {reason(error)}.") from error
    if os.path.ismount(target):
        raise UserError(f"{out} is a mount point: name a new folder in it.")  # no folder can be renamed onto it
    return target


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder beside `target` that is renamed to `target` if the block succeeds, and deleted otherwise."""
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    except OSError as error:
        raise UserError(f"Cannot write to {target}: {reason(error)}.") from error
    try:
        yield temporary
        temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
