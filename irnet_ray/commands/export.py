"""The labels of a finished run in another format, for people who train elsewhere."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from rich.console import Console

from irnet_ray.engine.progress import Reading, display
from irnet_ray.errors import UserError
from irnet_ray.exports import coco, links, voc, yolo
from irnet_ray.exports.labels import Counts, Labels
from irnet_ray.runs.run import finished
from irnet_ray.runs.shards import Shards

Format = Literal["coco", "voc", "yolo"]


@dataclass(frozen=True)
class Export:
    """What was exported: images, annotations, classes, instances left out by reason, and where it lies."""

    images: int
    images_without_annotation: int
    train: int  # images; 0 and 0 in a format that knows no such split
    val: int
    annotations: int
    classes: int
    left_out: dict[str, int]
    path: Path  # the file or folder to name to a trainer

    def summary(self) -> str:
        """Aligned lines for a person."""
        total = f"{self.images:,} images, {self.annotations:,} annotations, {self.classes:,} classes"
        lines = [total, *(f"left out  {number:,} {reason}" for reason, number in self.left_out.items())]
        if self.images_without_annotation:
            lines.append(f"empty     {self.images_without_annotation:,} images without an annotation")
        if self.train or self.val:
            lines.append(f"split     {self.train:,} to train, {self.val:,} to val: a tenth, by a hash of the id")
        return "\n".join([*lines, f"written   {self.path}"])


def export(
    labels: str | Path,
    format: Format,
    out: str | Path,
    *,
    min_quality: float = 0.0,
    min_score: float = 0.0,
    console: Console | None = None,
) -> Export:
    """Write the labels of a finished run as COCO, PASCAL VOC or YOLO segmentation.

    Every labeled image is exported, also one without an instance. VOC and YOLO link to the images, whose masks are of
    their pixels as people see them, that is with EXIF orientation applied.

    Args:
        labels: a run directory with a finished run, or its `labels` folder.
        format: `coco` for `out/instances.json`, `voc` for `out/VOC`, `yolo` for `out/data.yaml` and its folders.
        out: a new or empty folder. It is there when it is whole, and not before.
        min_quality: leave out instances of a lower quality, in [0, 1].
        min_score: leave out instances of a lower score, in [0, 1].
        console: where the progress goes.

    Raises:
        UserError: no finished run or no label in it, a folder that is not empty or cannot be written, images that
            VOC and YOLO cannot link to, or too many classes for VOC; before anything is written.
    """
    if format not in get_args(Format):
        raise UserError(f"The format must be {', '.join(get_args(Format))}, got {format}.")
    for name, value in (("--min-quality", min_quality), ("--min-score", min_score)):
        if not 0 <= value <= 1:
            raise UserError(f"{name} must be between 0 and 1, got {value:g}.")
    chosen = _open(labels, min_quality, min_score)
    target = _target(out)
    if format == "voc":
        voc.check(chosen)
    if format != "coco":
        links.check(chosen)
    counts = Counts()
    with (
        _whole(target) as folder,
        display("export", "images", lambda: Reading(counts.images, len(chosen.images)), console or Console()),
    ):
        path = target / _write(chosen, format, folder, target, counts)
    return Export(
        images=counts.images,
        images_without_annotation=counts.empty,
        train=0 if format == "coco" else counts.images - counts.validation,
        val=counts.validation,
        annotations=counts.annotations,
        classes=len(chosen.vocabulary),
        left_out=dict(counts.left_out),
        path=path,
    )


def _write(labels: Labels, format: Format, folder: Path, target: Path, counts: Counts) -> str:
    """Write one format; returns the name of what a trainer is to be given."""
    if format == "coco":
        coco.write(labels, folder, counts)
        return coco.FILE
    if format == "voc":
        voc.write(labels, folder, counts)
        return voc.FOLDER
    yolo.write(labels, folder, target, counts)
    return yolo.FILE


def _open(labels: str | Path, min_quality: float, min_score: float) -> Labels:
    folder, version = finished(labels)
    rows = Shards(folder.folder("stages", version["stages"]["labels"]), version["shards"]).rows
    found = Labels(rows, version["vocabulary"], min_quality, min_score)
    if not len(found.images):
        raise UserError(f"The run in {folder.location} has no labels to export: its errors table says why.")
    return found


def _target(out: str | Path) -> Path:
    """The folder to make, of which it is sure that nothing is in it."""
    target = Path(os.path.realpath(out))
    try:
        if target.exists() and any(target.iterdir()):
            raise UserError(f"{out} is not empty: name a new folder, or empty this one.")
    except OSError as error:
        raise UserError(f"Cannot write to {out}: {error.strerror or error}.") from error
    if os.path.ismount(target):
        raise UserError(f"{out} is a mount point: name a new folder in it.")  # nothing can be renamed to it
    return target


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its name when the block ends well, and is gone otherwise."""
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
    except OSError as error:
        raise UserError(f"Cannot write to {target}: {error.strerror or error}.") from error
    try:
        yield temporary
        temporary.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
