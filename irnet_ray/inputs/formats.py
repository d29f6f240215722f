"""The formats in which images with tags can be given: one row each, in the order in which they are tried.

To add a format, write a module with `recognize` and `listed`, and add its row to `FORMATS`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from irnet_ray.errors import UserError
from irnet_ray.inputs import class_folders, coco, manifest, tags_folder, voc, webdataset
from irnet_ray.inputs.listing import Listing
from irnet_ray.inputs.place import Place, no_images
from irnet_ray.inputs.tags import no_tags_file
from irnet_ray.storage.locations import absolute


@dataclass(frozen=True)
class Format:
    """A format of images with tags.

    `recognize` returns why a place has the format, such as "it holds tags.csv", or None if it has another. It looks at
    names, and at the first line of a file where the name does not say enough. `listed` returns the images of a
    recognized place, with distinct ids, and an account of every other file: `Place.listing` makes it for folders. Both
    raise UserError for what a person should mend.
    """

    name: str
    looks: str  # what the user names, in the words of docs/inputs.md
    recognize: Callable[[Place], str | None]
    listed: Callable[[Place], Listing]
    must_exist: bool = False  # refuse listed images that are not there; otherwise each becomes a row of errors


# The first row that recognizes a place wins. Class folders come last because their sign is weak: the folders of other
# formats, such as VOC's JPEGImages and SegmentationClass, would pass for classes.
FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format(
            "tags file",
            "a folder with tags.csv or tags.parquet",
            tags_folder.recognize,
            tags_folder.listed,
        ),
        Format(
            "VOC",
            "a VOC devkit, or a list in its ImageSets",
            voc.recognize,
            voc.listed,
        ),
        Format(
            "WebDataset",
            "a .tar, a folder of them, or name-{000..146}.tar",
            webdataset.recognize,
            webdataset.listed,
        ),
        Format(
            "manifest",
            "a .csv, .jsonl or .parquet file, or a folder of .parquet files",
            manifest.recognize,
            manifest.listed,
            must_exist=True,
        ),
        Format(
            "COCO",
            "a COCO instances_*.json",
            coco.recognize,
            coco.listed,
        ),
        Format(
            "class folders",
            "a folder with one folder per class",
            class_folders.recognize,
            class_folders.listed,
        ),
    )
}


@dataclass(frozen=True)
class Recognized:
    """A place, its format, and why it has that format."""

    place: Place
    format: Format
    why: str


def recognized(data: str | os.PathLike[str]) -> Recognized:
    """The format of what `data` names, a local path or a URI. Raises UserError where no format fits."""
    place = Place(absolute(data))
    for row in FORMATS.values():
        why = row.recognize(place)
        if why is not None:
            return Recognized(place, row, why)
    raise _unrecognized(place)


def _unrecognized(place: Place) -> UserError:
    location = place.location
    if place.kind is None:
        return UserError(f"{location} does not exist: name a folder of images with tags.")
    if place.kind == "file":
        known = "; ".join(row.looks for row in FORMATS.values())
        return UserError(f"{location} is not a folder, nor a file that lists images: name {known}.")
    return no_tags_file(location) if place.images or place.lost_images else no_images(location)
