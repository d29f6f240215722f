"""Images with or without tags become the images table."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from irnet_ray.classes import Classes
from irnet_ray.errors import UserError
from irnet_ray.inputs.classes_file import apply
from irnet_ray.inputs.formats import opened, recognized
from irnet_ray.inputs.images_table import images_table, refuse_unnamed
from irnet_ray.inputs.listing import NOT_AN_IMAGE, Account, Listed, Listing
from irnet_ray.inputs.place import no_images
from irnet_ray.inputs.tags_folder import tags_files
from irnet_ray.storage.locations import join
from irnet_ray.text import names

UNTAGGED = "images without tags"


@dataclass(frozen=True)
class Reading:
    """Images as they were read, and what else was found where they are."""

    table: pa.Table  # of tables.IMAGES, sorted by image_id
    format: str  # a name in `formats.FORMATS`, or UNTAGGED
    why: str  # it was recognized: "it holds tags.csv"
    account: Account
    notes: list[str]  # guesses that were made about the data
    category_ids: dict[str, Any] = field(default_factory=dict)  # COCO's own number of each class, in its order


def read(
    data: str | os.PathLike[str],
    shards: int,
    limit: int | None = None,
    images: str | os.PathLike[str] | None = None,
    separator: str | None = None,
    classes: Classes | None = None,
) -> Reading:
    """Check tagged images and return them with an account of every file.

    An image whose header cannot be read gets null width and height; the stages report it.

    Args:
        data: a local path or a URI, in one of the formats of docs/inputs.md.
        shards: Parquet files per table.
        limit: keep that many images, evenly drawn by a hash of their ids, after the whole listing was checked.
        images: the folder of the images, if they are not beside their tags.
        separator: what separates tags in a cell; `none` if each cell is one tag; None to find it out.
        classes: what the tags must be, and other spellings of them; None for any tags.

    Raises:
        UserError: everything that a person should mend before anything is computed.
    """
    _check_numbers(shards, limit)
    found = recognized(data, images, separator)
    listing = apply(found.format.listed(found.place), classes or Classes(), found.place.location)
    listed_in = found.place.location if found.format.must_exist else None
    return _reading(listing, found.format.name, found.why, shards, limit, listed_in)


def read_folder(data: str | os.PathLike[str], shards: int, limit: int | None = None) -> pa.Table:
    """The images table (`tables.IMAGES`) that `read` finds."""
    return read(data, shards, limit).table


def read_images(data: str | os.PathLike[str], shards: int, limit: int | None = None) -> Reading:
    """Like `read`, for images that need no tags.

    In a folder without a tags file, every image file is an image without tags. Its id is its path below the folder, or
    below `images` if it is in there. Everything else is read by `read`. Raises UserError as `read` does.
    """
    _check_numbers(shards, limit)
    place = opened(data)
    if place.kind != "folder" or tags_files(place.location):
        return read(data, shards, limit)
    # Links that lead nowhere are listed too, so that each becomes a row of errors.
    images = _untagged(place.location, sorted([*place.images, *place.lost_images]))
    return _reading(place.listing(images, {}, NOT_AN_IMAGE), UNTAGGED, "a folder of images", shards, limit, None)


def _reading(listing: Listing, name: str, why: str, shards: int, limit: int | None, listed_in: str | None) -> Reading:
    account = Account(listing.seen, len(listing.images), listing.left_out, listing.unit)
    if account.seen != account.images + account.left_out.total:
        raise RuntimeError(
            f"The account of {name} does not balance: {account.seen} seen, {account.images} images and "
            f"{account.left_out.total} left out."
        )
    table = images_table(listing.images, shards, limit, listed_in)
    return Reading(table, name, why, account, listing.notes, listing.category_ids)


def _untagged(location: str, files: Sequence[str]) -> dict[str, Listed]:
    paths: dict[str, str] = {}
    for path in files:
        other = paths.setdefault(path.removeprefix("images/"), path)
        if other != path:
            raise UserError(f"{location} holds both {names([other])} and {names([path])}: rename one of them.")
    if not paths:
        raise no_images(location)
    refuse_unnamed(location, list(paths))
    return {path: Listed(name, [], join(location, path)) for name, path in paths.items()}


def _check_numbers(shards: int, limit: int | None) -> None:
    if shards < 1:
        raise UserError(f"The number of shards must be at least 1, got {shards}.")
    if limit is not None and limit < 1:
        raise UserError(f"The limit must be at least 1 image, got {limit}: leave it out for all of them.")
