"""The formats in which images with tags can be given: one row each, in the order in which they are tried.

To add a format, write a module with `recognize` and `listed`, and add its row to `FORMATS`.
"""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from irnet_ray.errors import UserError
from irnet_ray.inputs import class_folders, coco, manifest, tags_folder, voc, webdataset, xml_files, yolo
from irnet_ray.inputs.listing import Listing
from irnet_ray.inputs.place import Place, no_images
from irnet_ray.storage.archives import COMPRESSED_TARS, TARS
from irnet_ray.storage.files import inside_archive
from irnet_ray.storage.locations import absolute, base_name, is_web
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
    images_apart: bool = False  # whether the images may lie in a folder that is named apart
    # The table of a folder, by its location. It is read as a manifest if the images are named apart.
    table: Callable[[Place], str | None] | None = None
    has_cells: bool = False  # whether it holds cells of several tags, so that a separator may be given


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
            table=tags_folder.only_table,
            has_cells=True,
        ),
        Format(
            "VOC",
            "a VOC devkit, or a list in its ImageSets",
            voc.recognize,
            voc.listed,
        ),
        Format(
            "table",
            "a folder with another table of images and tags",
            tags_folder.recognize_table,
            tags_folder.listed_tables,
            table=tags_folder.only_table,
            has_cells=True,
        ),
        Format(
            "XML files",
            "a folder with an .xml file of VOC for each image",
            xml_files.recognize,
            xml_files.listed,
            images_apart=True,
        ),
        Format(
            "YOLO",
            "a folder with YOLO labels, or its data.yaml",
            yolo.recognize,
            yolo.listed,
            images_apart=True,
        ),
        Format(
            "WebDataset",
            "a .tar, a folder of them, or name-{000..146}.tar",
            webdataset.recognize,
            webdataset.listed,
            has_cells=True,
        ),
        Format(
            "manifest",
            "a .csv, .tsv, .jsonl, .json or .parquet file, or a folder of .parquet files",
            manifest.recognize,
            manifest.listed,
            must_exist=True,
            images_apart=True,
            has_cells=True,
        ),
        Format(
            "COCO",
            "a COCO or LVIS file, or a folder with one",
            coco.recognize,
            coco.listed,
            images_apart=True,
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


def recognized(
    data: str | os.PathLike[str], images: str | os.PathLike[str] | None = None, separator: str | None = None
) -> Recognized:
    """The format of what `data` names, a local path or a URI. Raises UserError where no format fits.

    Args:
        data: where the tags are, and most often the images too.
        images: the folder of the images, if they are elsewhere.
        separator: of tags in a cell; None to find it out.
    """
    if separator == "":
        raise UserError("--separator is empty: name what separates tags, or none if each cell is one tag.")
    place = Place(_location(data), None if images is None else _folder(images), separator)
    archive = _archive(place)
    for row in FORMATS.values():
        why = row.recognize(archive or place)
        if why is not None:
            table = row.table(archive or place) if images is not None and row.table is not None else None
            if table is not None:
                return Recognized(replace(archive or place, location=table), FORMATS["manifest"], why)
            if images is not None and not row.images_apart:
                raise UserError(f"{place.location} is read as {row.name}, with its own images: leave --images out.")
            if separator is not None and not row.has_cells:
                raise UserError(f"{place.location} is read as {row.name}, which has no cells: leave --separator out.")
            return Recognized(archive or place, row, f"in {base_name(place.location)} {why}" if archive else why)
    if archive is not None and place.location.lower().endswith((*TARS, *COMPRESSED_TARS)):
        return Recognized(place, FORMATS["WebDataset"], "it is a tar")
    raise _unrecognized(archive or place, place.location)


def opened(data: str | os.PathLike[str]) -> Place:
    """What `data` names; of an archive that holds a folder, that folder."""
    place = Place(_location(data))
    return _archive(place) or place


def _location(data: str | os.PathLike[str]) -> str:
    location = absolute(data)
    if is_web(location):
        raise UserError(
            f"{location} is on a web server, where folders cannot be listed: download it, or name a local folder or an "
            "object store."
        )
    return location


def _folder(images: str | os.PathLike[str]) -> str:
    place = Place(_location(images))
    found = inside_archive(place.location) if place.kind == "file" and _is_archive(place.location) else place.location
    if Place(found).kind != "folder":
        raise UserError(f"{place.location} is no folder: name the folder of the images with --images.")
    return found


def _is_archive(location: str) -> bool:
    return base_name(location).lower().endswith((".zip", ".tar", *COMPRESSED_TARS))


def _archive(place: Place) -> Place | None:
    """The folder that an archive holds; None for a tar of samples, and for what is no archive."""
    if place.kind != "file" or not _is_archive(place.location) or webdataset.holds_samples(place.location):
        return None
    return replace(place, location=inside_archive(place.location))


def _unrecognized(place: Place, location: str) -> UserError:
    if place.kind is None:
        return UserError(f"{location} does not exist: name a folder of images with tags.")
    if place.kind == "file":
        known = "; ".join(row.looks for row in FORMATS.values())
        return UserError(f"{location} is not a folder, nor a file that lists images: name {known}.")
    if not place.images and not place.lost_images:
        return no_images(location)
    table = tags_folder.other_table(place)
    if table is not None:
        return UserError(
            f"{location} has no tags.csv, and {table} does not list images with their tags: give it the columns "
            "image,tags."
        )
    return UserError(
        f"{location} has no tags.csv and no tags.parquet: add one with the columns image,tags; it holds {_seen(place)}."
    )


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
