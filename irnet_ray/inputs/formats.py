"""The formats in which images with tags can be given: one row each, in the order in which they are tried.

To add a format, write a module with `recognize` and `listed`, and add its row to `FORMATS`.
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from irnet_ray.errors import UserError
from irnet_ray.inputs import class_folders, coco, manifest, tags_folder, voc, webdataset
from irnet_ray.inputs.listing import Listing
from irnet_ray.inputs.place import Place, no_images
from irnet_ray.inputs.tags import no_tags_file
from irnet_ray.storage.locations import absolute
from irnet_ray.text import count, names


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
    if not place.images and not place.lost_images:
        return no_images(location)
    return UserError(f"{str(no_tags_file(location)).removesuffix('.')}; it holds {_seen(place)}.")


def _seen(place: Place) -> str:
    """What a folder without tags holds: `4 images in images, 4 masks in masks and 2 other files`."""
    folders = Counter(posixpath.dirname(path) for path in (*place.images, *place.lost_images))
    of_masks = Counter(posixpath.dirname(path) for path in place.masks)
    found = [
        f"{count(number, noun)}{f' in {folder}' if folder else ''}"
        for noun, held in (("image", folders), ("mask", of_masks))
        for folder, number in held.most_common()
    ]
    others = len(place.files) - len(place.images) - len(place.masks)
    return names([*found, *([count(others, "other file")] if others else [])], 4)
