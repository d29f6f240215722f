"""Export the labels of a finished run in another format, for training elsewhere."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from irnet_ray.commands.defaults import MIN_QUALITY, MIN_SCORE
from irnet_ray.engine.progress import Reading, display
from irnet_ray.errors import UserError, reason
from irnet_ray.exports.formats import FORMATS
from irnet_ray.exports.labels import Counts, Labels
from irnet_ray.runs.run import FinishedRun


@dataclass(frozen=True)
class Export:
    """What was exported, what was left out, and where the export is."""

    images: int
    images_without_annotation: int
    train: int  # images; 0 in a format without splits
    val: int
    annotations: int
    classes: int
    left_out: dict[str, int]  # instances by reason
    path: Path  # the file or folder to give to a trainer

    def summary(self) -> str:
        """Aligned lines for a person."""
        total = f"{self.images:,} images, {self.annotations:,} annotations, {self.classes:,} classes"
        lines = [total, *(f"left out  {number:,} {reason}" for reason, number in self.left_out.items())]
        if self.images_without_annotation:
            lines.append(f"empty     {self.images_without_annotation:,} images without an annotation")
        if self.train or self.val:
            lines.append(f"split     {self.train:,} to train, {self.val:,} to val")
        return "\n".join([*lines, f"written   {self.path}"])


def export(
    labels: str | Path,
    format: str,
    out: str | Path,
    *,
    min_quality: float = MIN_QUALITY,
    min_score: float = MIN_SCORE,
    console: Console | None = None,
) -> Export:
    """Write the labels of a finished run in another format.

    All labeled images are exported, even those without an instance. Masks match the images as people see them: with
    the EXIF orientation applied.

    Args:
        labels: a run directory with a finished run, or its `labels` folder.
        format: a name in `exports.formats.FORMATS`: `coco` for `out/instances.json`, `voc` for `out/VOC`, `yolo` for
            `out/data.yaml` and its folders.
        out: a new or empty folder. It appears only when it is complete.
        min_quality: leave out instances of a lower quality, in [0, 1].
        min_score: leave out instances with a lower score, in [0, 1].
        console: where the progress goes.

    Raises:
        UserError: an unknown format, no finished run or no label in it, a folder that is not empty or cannot be
            written, or labels that the format cannot hold. Raised before anything is written.
    """
    if format not in FORMATS:
        raise UserError(f"Unknown format {format!r}: the formats are {', '.join(FORMATS)}.")
    for name, value in (("--min-quality", min_quality), ("--min-score", min_score)):
        if not 0 <= value <= 1:
            raise UserError(f"{name} must be between 0 and 1, got {value:g}.")
    chosen = _open(labels, min_quality, min_score)
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
        annotations=counts.annotations,
        classes=len(chosen.vocabulary),
        left_out=dict(counts.left_out),
        path=path,
    )


def _open(labels: str | Path, min_quality: float, min_score: float) -> Labels:
    run = FinishedRun.open(labels)
    found = Labels(run.shards("labels").rows, run.vocabulary, min_quality, min_score)
    if not len(found.images):
        raise UserError(f"The run in {run.folder.location} has no labels to export: its errors table says why.")
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
