"""Anything with tags becomes the images table: what `--data` names is recognized by what lies there."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pyarrow as pa

from irnet_ray.errors import UserError
from irnet_ray.inputs import class_folders, coco, manifest, tags_folder, voc, webdataset
from irnet_ray.inputs.decode import EXTENSIONS
from irnet_ray.inputs.images_table import Listed, images_table, is_image, names, refuse_unnamed
from irnet_ray.inputs.tags import has_tags_file, no_tags_file
from irnet_ray.storage import files as storage


def read_folder(data: str | os.PathLike[str], shards: int, limit: int | None = None) -> pa.Table:
    """Check tagged images whole and return their images table (`tables.IMAGES`), sorted by image_id.

    `data` is a local path or a URI of what docs/inputs.md lists. `limit` keeps the first so many by image_id, after
    every listed file has been checked to exist. An image whose header cannot be read gets null width and height and
    is left to the stages. Raises UserError for everything that a person should mend before any compute.
    """
    _check_numbers(shards, limit)
    location = storage.absolute(data)
    found = storage.kind(location)
    if found == "file":
        return _read_file(location, shards, limit)
    if found is None and "{" in location and storage.suffix(location) == ".tar":
        tars = [(storage.base_name(tar), tar) for tar in webdataset.expand(location)]
        return images_table(webdataset.listed(tars), shards, limit)
    _check_folder(location)
    if has_tags_file(location):
        return images_table(tags_folder.listed(location), shards, limit)
    devkit = voc.find(location)
    if devkit is not None:
        return images_table(voc.listed(devkit), shards, limit)
    return _read_untold(location, shards, limit)


def _read_file(location: str, shards: int, limit: int | None) -> pa.Table:
    """The images table of one file that lists images, or holds them."""
    suffix, name = storage.suffix(location), storage.base_name(location)
    if suffix == ".json":
        return images_table(coco.listed(location), shards, limit)
    if suffix in manifest.SUFFIXES:
        return images_table(manifest.listed([(name, location)]), shards, limit, listed_in=location)
    if suffix == ".tar":
        return images_table(webdataset.listed([(name, location)]), shards, limit)
    devkit = voc.devkit_of_list(location)
    if devkit is not None:
        return images_table(voc.listed(devkit, location), shards, limit)
    raise UserError(
        f"{location} is not a folder, nor does it list images (.csv, .parquet, .jsonl, .tar, COCO's .json): "
        "name the folder that holds the images and their tags file."
    )


def _read_untold(location: str, shards: int, limit: int | None) -> pa.Table:
    """The images table of a folder by the files in it, which are listed once."""
    lost: list[str] = []
    files = list(storage.walk(location, lost))
    images, lost = list(filter(is_image, files)), list(filter(is_image, lost))
    for suffix, read in ((".tar", webdataset.listed), (".parquet", manifest.listed)):
        parts = sorted(name for name in files if name.lower().endswith(suffix))
        if parts and not images:
            refuse_unnamed(location, parts)
            found = read([(name, storage.join(location, name)) for name in parts])
            return images_table(found, shards, limit, listed_in=location if suffix == ".parquet" else None)
    instances = sorted(name for name in files if name.startswith("annotations/instances_") and name.endswith(".json"))
    if instances:
        raise UserError(f"{location} holds annotations of COCO ({names(instances)}): name one of these files.")
    if class_folders.recognized([*images, *lost]):
        return images_table(class_folders.listed(location, images, lost), shards, limit)
    if not images and not lost:
        raise _no_images(location)
    raise no_tags_file(location)


def read_images(data: str | os.PathLike[str], shards: int, limit: int | None = None) -> pa.Table:
    """The images table of a folder whose images need no tags; sorted by image_id.

    Of a file, or with a tags file, it is that of `read_folder`. Without, every image file below `data` is an image, by
    its path below `data`, or below `data/images` where it lies there, and has no tags. Raises UserError as that does.
    """
    _check_numbers(shards, limit)
    location = storage.absolute(data)
    if storage.kind(location) == "file" or has_tags_file(location):
        return read_folder(data, shards, limit)
    _check_folder(location)
    lost: list[str] = []
    files = [*filter(is_image, storage.walk(location, lost)), *filter(is_image, lost)]  # the lost become errors
    return images_table(_untagged(location, sorted(files)), shards, limit)


def _untagged(location: str, files: Sequence[str]) -> list[Listed]:
    paths: dict[str, str] = {}
    for path in files:
        other = paths.setdefault(path.removeprefix("images/"), path)
        if other != path:
            raise UserError(f"{location} holds both {names([other])} and {names([path])}: rename one of them.")
    if not paths:
        raise _no_images(location)
    refuse_unnamed(location, list(paths))
    return [Listed(name, [], storage.join(location, path)) for name, path in paths.items()]


def _check_numbers(shards: int, limit: int | None) -> None:
    if shards < 1:
        raise UserError(f"The number of shards must be at least 1, got {shards}.")
    if limit is not None and limit < 1:
        raise UserError(f"The limit must be at least 1 image, got {limit}: leave it out for all of them.")


def _check_folder(location: str) -> None:
    found = storage.kind(location)
    if found is None:
        raise UserError(f"{location} does not exist: name a folder of images with tags.")
    if found != "folder":
        raise UserError(f"{location} is not a folder: name the folder that holds the images and their tags file.")


def _no_images(location: str) -> UserError:
    return UserError(f"{location} holds no images ({', '.join(sorted(EXTENSIONS))}): name the folder that does.")
