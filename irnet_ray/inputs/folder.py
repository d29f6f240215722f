"""Images with or without tags become the images table."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pyarrow as pa

from irnet_ray.errors import UserError
from irnet_ray.inputs.formats import recognized
from irnet_ray.inputs.images_table import Listed, images_table, refuse_unnamed
from irnet_ray.inputs.place import Place, no_images
from irnet_ray.inputs.tags import tags_files
from irnet_ray.storage.locations import absolute, join
from irnet_ray.text import names


def read_folder(data: str | os.PathLike[str], shards: int, limit: int | None = None) -> pa.Table:
    """Check tagged images and return their images table (`tables.IMAGES`), sorted by image_id.

    `data` is a local path or a URI, in one of the formats of docs/inputs.md. `limit` keeps that many images, the first
    by image_id, after the whole listing was checked. An image whose header cannot be read gets null width and height;
    the stages report it. Raises UserError for everything that a person should mend before anything is computed.
    """
    _check_numbers(shards, limit)
    found = recognized(data)
    images = found.format.listed(found.place)
    return images_table(images, shards, limit, found.place.location if found.format.must_exist else None)


def read_images(data: str | os.PathLike[str], shards: int, limit: int | None = None) -> pa.Table:
    """The images table of images that need no tags, sorted by image_id.

    In a folder without a tags file, every image file is an image without tags. Its id is its path below the folder, or
    below `images` if it is in there. Everything else is read by `read_folder`. Raises UserError as `read_folder` does.
    """
    _check_numbers(shards, limit)
    place = Place(absolute(data))
    if place.kind != "folder" or tags_files(place.location):
        return read_folder(data, shards, limit)
    # Links that lead nowhere are listed too, so that each becomes a row of errors.
    return images_table(_untagged(place.location, sorted([*place.images, *place.lost_images])), shards, limit)


def _untagged(location: str, files: Sequence[str]) -> list[Listed]:
    paths: dict[str, str] = {}
    for path in files:
        other = paths.setdefault(path.removeprefix("images/"), path)
        if other != path:
            raise UserError(f"{location} holds both {names([other])} and {names([path])}: rename one of them.")
    if not paths:
        raise no_images(location)
    refuse_unnamed(location, list(paths))
    return [Listed(name, [], join(location, path)) for name, path in paths.items()]


def _check_numbers(shards: int, limit: int | None) -> None:
    if shards < 1:
        raise UserError(f"The number of shards must be at least 1, got {shards}.")
    if limit is not None and limit < 1:
        raise UserError(f"The limit must be at least 1 image, got {limit}: leave it out for all of them.")
