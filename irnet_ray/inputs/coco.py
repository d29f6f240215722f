"""A COCO annotations file: the tags of an image are the categories of its annotations. Boxes and masks are ignored."""

from __future__ import annotations

import json
import posixpath
from typing import Any

from irnet_ray.errors import UserError, reason
from irnet_ray.inputs.listing import TAGS_FILE, Listed, Listing
from irnet_ray.inputs.place import Place
from irnet_ray.inputs.tags import check_name, check_tags
from irnet_ray.storage.files import is_file, open_binary
from irnet_ray.storage.locations import base_name, join, parent, suffix
from irnet_ray.text import count, names

_LISTS = ("images", "annotations", "categories")


def recognize(place: Place) -> str | None:
    """A .json file, or a folder with `annotations/instances_*.json`, for which `listed` asks for one of the files."""
    if place.kind == "file" and suffix(place.location) == ".json":
        return "it is a .json file"
    return "it holds annotations/instances_*.json" if place.kind == "folder" and _instances(place) else None


def _instances(place: Place) -> list[str]:
    return sorted(name for name in place.files if name.startswith("annotations/instances_") and name.endswith(".json"))


def listed(place: Place) -> Listing:
    """All images, by their file names. Those without annotations have no tags.

    The images are beside `annotations/instances_<name>.json`: in `<name>`, `images/<name>`, `images`, or where the
    listed file names say.
    """
    path = place.location
    if place.kind == "folder":
        raise UserError(f"{path} holds annotations of COCO ({names(_instances(place))}): name one of these files.")
    data = _load(path)
    categories = {_get(path, c, "id"): _get(path, c, "name", str).strip() for c in data["categories"]}
    files: dict[Any, str] = {}
    for number, image in enumerate(data["images"], start=1):
        name = _get(path, image, "file_name", str)
        check_name(path, f"image {number}", name)
        files[_get(path, image, "id")] = name
    if len(set(files.values())) < len(data["images"]):
        raise UserError(f"{path} lists images that share an id or a file name: keep one of each.")
    tags: dict[str, dict[str, None]] = {name: {} for name in files.values()}
    for annotation in data["annotations"]:
        image, category = _get(path, annotation, "image_id"), _get(path, annotation, "category_id")
        if image not in files or not categories.get(category):
            raise UserError(f"{path} holds an annotation of image {image} and category {category}: list both of them.")
        tags[files[image]][categories[category]] = None
    if not any(tags.values()):
        raise UserError(f"{path} lists no image with annotations: name an instances file.")
    for name, found in tags.items():
        check_tags(path, "an image", name, list(found))
    photos = Place(_folder(path, list(tags)))
    place_of = {name: posixpath.normpath(name) for name in tags}
    _check_present(path, photos, place_of)
    images = {
        place_of[name]: Listed(name, list(found), join(photos.location, place_of[name])) for name, found in tags.items()
    }
    nothing = sum(not found for found in tags.values())
    notes = [f"{count(nothing, 'image')} without annotations: they show none of the classes"] if nothing else []
    reasons = {name: TAGS_FILE for name in photos.files if join(photos.location, name) == path}
    return photos.listing(images, reasons, f"not listed in {base_name(path)}", notes)


def _load(path: str) -> dict[str, Any]:
    try:
        with open_binary(path) as stream:
            # Outlines are nine tenths of such a file, so they are dropped while it is read.
            data = json.load(stream, object_hook=_without_outlines)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; check its permissions.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): name a COCO instances file.") from error
    if not isinstance(data, dict) or not all(isinstance(data.get(name), list) for name in _LISTS):
        raise UserError(f"{path} must hold the lists {', '.join(_LISTS)}: name a COCO instances file.")
    return data


def _without_outlines(value: dict[str, Any]) -> dict[str, Any]:
    value.pop("segmentation", None)
    value.pop("bbox", None)
    return value


def _get(path: str, entry: Any, key: str, kind: type | tuple[type, ...] = (int, str)) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind) or value == "":
        raise UserError(f"{path} holds an entry without a proper {key}: name a COCO instances file.")
    return value


def _folder(path: str, files: list[str]) -> str:
    """The first of the usual folders that holds one of the first three images."""
    here = parent(path)
    above = parent(here)
    split = base_name(path).removesuffix(".json").removeprefix("instances_")
    places = [
        *(join(folder, name) for folder in (above, here) for name in (split, f"images/{split}", "images")),
        above,
        here,
    ]
    for name in files[:3]:
        for folder in places:
            if is_file(join(folder, posixpath.normpath(name))):
                return folder
    raise UserError(
        f"The images of {path} ({names(files)}) are not in {split}, images/{split} or images beside it: put them there."
    )


def _check_present(path: str, photos: Place, place_of: dict[str, str]) -> None:
    present = set(photos.files)
    missing = [name for name, place in place_of.items() if place not in present]
    # `files` leaves out hidden files, so each missing one is looked up by itself.
    missing = [name for name in missing if not is_file(join(photos.location, place_of[name]))]
    if missing:
        raise UserError(
            f"{path} lists {count(len(missing), 'image')} not found in {photos.location} ({names(missing)}): "
            "add the files, or take them out of the listing."
        )
