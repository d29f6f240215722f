"""The formats that labels are exported to, by the name that `--format` gives.

To add one, write its module and add a row here. Importing this module imports no format, because `--help` only needs
the names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from irnet_ray.exports.labels import Counts, Labels


@dataclass(frozen=True)
class Format:
    """One export format.

    `write(labels, folder, home, counts)` writes all files to `folder`, which is empty and will be renamed to `home`.
    It adds each image to `counts` as soon as it is written, and returns the name of the file or folder, below `home`,
    that a trainer is given. `check(labels)` raises UserError for labels that the format cannot hold; it runs before
    anything is written.
    """

    says: str  # in a few words, for the help
    write: Callable[[Labels, Path, Path, Counts], str]
    check: Callable[[Labels], None] | None = None  # None: it holds any labels


def _write_coco(labels: Labels, folder: Path, home: Path, counts: Counts) -> str:
    from irnet_ray.exports import coco

    return coco.write(labels, folder, counts)


def _write_voc(labels: Labels, folder: Path, home: Path, counts: Counts) -> str:
    from irnet_ray.exports import voc

    return voc.write(labels, folder, counts)


def _check_voc(labels: Labels) -> None:
    from irnet_ray.exports import voc

    voc.check(labels)


def _write_yolo(labels: Labels, folder: Path, home: Path, counts: Counts) -> str:
    from irnet_ray.exports import yolo

    return yolo.write(labels, folder, home, counts)


def _check_links(labels: Labels) -> None:
    from irnet_ray.exports import links

    links.check(labels)


FORMATS = {
    "coco": Format("instances.json", _write_coco),
    "voc": Format("palette PNGs, with links to the images", _write_voc, _check_voc),
    "yolo": Format("polygons, with links to the images", _write_yolo, _check_links),
}
