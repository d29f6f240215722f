"""A COCO annotations file: the tags of an image are the categories of its annotations. Boxes and masks are ignored.

LVIS files say for each image which categories were looked for; the others are unknown.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from irnet_ray.errors import UserError, reason
from irnet_ray.inputs import openimages, raw_table
from irnet_ray.inputs.beside import LABEL_FOLDERS
from irnet_ray.inputs.listing import TAGS_FILE, Listed, Listing
from irnet_ray.inputs.mask_files import plain
from irnet_ray.inputs.matching import match, missing_sentence
from irnet_ray.inputs.place import Place
from irnet_ray.inputs.tags import check_name, check_tags
from irnet_ray.storage.files import is_file, open_binary
from irnet_ray.storage.locations import base_name, join, parent, suffix
from irnet_ray.text import count, names

_LISTS = ("images", "annotations", "categories")
_HEAD = 1 << 20  # bytes of a .json file that tell whether it is COCO
_SIGN = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_DEPTH = 2  # of annotation files below a folder


def recognize(place: Place) -> str | None:
    """A .json file, or a folder with one, or with one for each split."""
    if place.kind == "file" and suffix(place.location) == ".json":
        return "it is a .json file"
    if place.kind != "folder":
        return None
    if _instances(place):
        return "it holds annotations/instances_*.json"
    found = _files(place) if place.images or place.images_in else []
    return f"it holds {names(found, 1)}, a COCO file" if found else None


def _instances(place: Place) -> list[str]:
    return sorted(name for name in place.files if name.startswith("annotations/instances_") and name.endswith(".json"))


def _files(place: Place) -> list[str]:
    """Paths of the annotation files of a folder, sorted."""
    near = [path for path in place.named(".json") if path.count("/") <= _DEPTH]
    return _instances(place) or [path for path in near if _is_coco(join(place.location, path))]


def _is_coco(path: str) -> bool:
    try:
        with open_binary(path) as stream:
            return _SIGN.search(stream.read(_HEAD)) is not None and not raw_table.is_json_table(path)
    except OSError:
        return False


@dataclass(frozen=True)
class _Annotated:
    """The content of a file: tags by file name, and tags of which nobody knows."""

    path: str
    tags: dict[str, list[str]]
    unknown: dict[str, tuple[str, ...]]
    notes: list[str]
    image_ids: dict[str, str]  # as JSON, by file name
    category_ids: dict[str, Any]  # of all categories, by name, in the file's order


def listed(place: Place) -> Listing:
    """All images, by their file names. Those without annotations have no tags.

    The images are beside the file or its folder, in a folder `images`, `data`, or one with the name of
    `instances_<name>.json`, where the listed names say, or in the folder that is named apart.
    """
    if place.kind == "file":
        return _listed_file(place)
    files = _files(place)
    if len(files) > 1 and len({posixpath.basename(path) for path in files}) > 1:
        raise UserError(f"{place.location} holds annotations of COCO ({names(files)}): name one of these files.")
    photos = place if place.images_in is None else Place(place.images_in)
    images: dict[str, Listed] = {}
    notes: list[str] = []
    ids: dict[str, Any] | None = None
    for path in files:
        found = _read(join(place.location, path))
        ids = found.category_ids if ids in (None, found.category_ids) else {}
        folder = "" if place.images_in is not None else _above(posixpath.dirname(path))
        for image, one in _images(found, photos, folder, notes).items():
            if image in images:
                raise UserError(f"{found.path} lists {image}, and so does another file: keep one of them.")
            several = len(files) > 1 and folder
            images[image] = one._replace(image_id=f"{folder}/{one.image_id}") if several else one
        notes.extend(note for note in found.notes if note not in notes)
    _check_annotated(place.location, (image.tags for image in images.values()))
    if not ids or len({image.source_id for image in images.values()}) < len(images):
        ids = {}  # the files number their images or categories each in its own way
        images = {path: image._replace(source_id=None) for path, image in images.items()}
    reasons = dict.fromkeys(files, TAGS_FILE) if place.images_in is None else {}
    listing = photos.listing(images, reasons, f"not listed in {posixpath.basename(files[0])}", notes)
    return replace(listing, category_ids=ids)


def _above(folder: str) -> str:
    """The folder that holds images and annotations, for a folder with annotations."""
    return posixpath.dirname(folder) if plain(posixpath.basename(folder)) in LABEL_FOLDERS else folder


def _listed_file(place: Place) -> Listing:
    found = _read(place.location)
    _check_annotated(found.path, found.tags.values())
    notes: list[str] = []
    if place.images_in is not None:
        photos = Place(place.images_in)
        images = _images(found, photos, "", notes)
    else:
        for photos in map(Place, _folders(found)):
            try:
                images = _images(found, photos, "", notes)
                break
            except UserError as error:
                refused = error
        else:
            raise refused
    reasons = {name: TAGS_FILE for name in photos.files if join(photos.location, name) == found.path}
    listing = photos.listing(images, reasons, f"not listed in {base_name(found.path)}", [*found.notes, *notes])
    return replace(listing, category_ids=found.category_ids)


def _check_annotated(path: str, tags: Iterable[list[str]]) -> None:
    if not any(tags):
        raise UserError(f"{path} lists no image with annotations: name an instances file.")


def _images(found: _Annotated, photos: Place, folder: str, notes: list[str]) -> dict[str, Listed]:
    """The images by their paths below `photos`. Raises UserError for one that is not there."""
    listed_names = list(found.tags)
    split = _split(found.path)
    places = ("", "images", "data", split, f"images/{split}", f"data/{split}")
    matches = match(listed_names, set(photos.images), places, folder)
    paths = dict(zip(listed_names, matches.paths, strict=True))
    for name, path in paths.items():
        if path is None and not name.startswith("/") and "\\" not in name:
            # Hidden files, and those that are no images by their names and bytes, are looked up one by one.
            plain_name = posixpath.normpath(name)
            tries = [plain_name, *([f"{folder}/{plain_name}"] if folder else [])]
            paths[name] = next((one for one in tries if is_file(join(photos.location, one))), None)
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        said = missing_sentence(missing, str, photos.images)
        raise UserError(
            f"{found.path} lists {count(len(missing), 'image')} not found in {photos.location} {said}: "
            "add the files, take them out of the listing, or name their folder with --images."
        )
    images: dict[str, Listed] = {}
    for name, path in paths.items():
        uri, unknown = join(photos.location, path or ""), found.unknown.get(name, ())
        image = Listed(name, found.tags[name], uri, None, unknown, found.image_ids[name])
        if images.setdefault(path or "", image) is not image:
            raise UserError(
                f"{found.path} lists {path} twice, as {images[path or ''].image_id} and as {name}: keep one."
            )
    notes.extend(matches.notes)
    return images


def _split(path: str) -> str:
    return base_name(path).removesuffix(".json").removeprefix("instances_")


def _folders(found: _Annotated) -> list[str]:
    """Where the images of a file may be: the first of the usual folders with one of the first three, or all around."""
    here = parent(found.path)
    above = parent(here)
    split = _split(found.path)
    usual = (split, f"images/{split}", "images", "data", f"data/{split}")
    places = [*(join(folder, name) for folder in (above, here) for name in usual), above, here]
    first = [posixpath.normpath(name.replace("\\", "/")) for name in list(found.tags)[:3]]
    for name in first:
        for folder in places:
            if not name.startswith("/") and is_file(join(folder, name)):
                return [folder]
    return [here, above] if plain(base_name(here)) in LABEL_FOLDERS else [here]


def _read(path: str) -> _Annotated:
    data = _load(path)
    categories = {_id(path, c, "id"): _name(path, c, "name").strip() for c in data["categories"]}
    files: dict[str, str] = {}
    image_ids: dict[str, str] = {}
    for number, image in enumerate(data["images"], start=1):
        name = _file_name(path, image)
        if ".." in name.replace("\\", "/").split("/") or "\0" in name:
            check_name(path, f"image {number}", name.replace("\\", "/"))
        files[_id(path, image, "id")] = name
        image_ids[name] = json.dumps(image["id"])
    if len(set(files.values())) < len(data["images"]):
        raise UserError(f"{path} lists images that share an id or a file name: keep one of each.")
    tags: dict[str, dict[str, None]] = {name: {} for name in files.values()}
    used: dict[str, str] = {}  # categories that images have, by name; Roboflow also lists an unused one of that name
    for annotation in data["annotations"]:
        image, category = _id(path, annotation, "image_id"), _id(path, annotation, "category_id")
        if image not in files or not categories.get(category):
            raise UserError(f"{path} holds an annotation of image {image} and category {category}: list both of them.")
        tags[files[image]][categories[category]] = None
        id_of = used.setdefault(categories[category], category)
        if id_of != category:
            raise UserError(
                f"{path} calls two categories {categories[category]}, {id_of} and {category}: rename one of them."
            )
    found = {name: list(some) for name, some in tags.items()}
    for some in found.values():
        check_tags(path, "an image", "it", some)
    notes: list[str] = []
    unknown = _unknown(path, data["images"], categories, files, found, notes)
    nothing = [name for name, some in found.items() if not some]
    if nothing and not unknown:
        notes.insert(0, f"{count(len(nothing), 'image')} without annotations: they show none of the classes")
    numbers: dict[str, Any] = {}
    for entry in data["categories"]:
        name, own = entry["name"].strip(), _id(path, entry, "id")
        if used.get(name, own) == own:
            numbers.setdefault(name, entry["id"])
    return _Annotated(path, found, unknown, notes, image_ids, numbers)


def _unknown(
    path: str,
    images: Sequence[dict[str, Any]],
    categories: dict[str, str],
    files: dict[str, str],
    tags: dict[str, list[str]],
    notes: list[str],
) -> dict[str, tuple[str, ...]]:
    """Tags of LVIS images that were not looked for, by file name."""
    if not any("neg_category_ids" in image for image in images):
        return {}
    known: list[str] = []
    absent: list[list[str]] = []
    for image in images:
        away = image.get("neg_category_ids") or []
        if not isinstance(away, list):
            raise UserError(f"{path} holds an entry without a proper neg_category_ids: name an LVIS file.")
        known.append(files[_id(path, image, "id")])
        absent.append([categories[number] for one in away if (number := _text(one)) in categories])
    vocabulary = sorted({tag for some in tags.values() for tag in some})
    found = openimages.unverified([tags[name] for name in known], absent, vocabulary, notes)
    return dict(zip(known, found, strict=True))


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


def _improper(path: str, key: str) -> UserError:
    return UserError(f"{path} holds an entry without a proper {key}: name a COCO instances file.")


def _id(path: str, entry: Any, key: str) -> str:
    """An id as text, so that 7, 7.0 and "7" are the same."""
    value = _text(entry.get(key) if isinstance(entry, dict) else None)
    if not value:
        raise _improper(path, key)
    return value


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_id = isinstance(value, str | int | float) and not isinstance(value, bool) and value == value
    return str(value).strip() if is_id else ""


def _name(path: str, entry: Any, key: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, str) or not value.strip():
        raise _improper(path, key)
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise UserError(f"{path} holds half a surrogate pair in {key}, which is not text: correct it.")
    return value


def _file_name(path: str, image: Any) -> str:
    """The name of an image. LVIS has only its address, whose last two parts are a name: train2017/000000000009.jpg."""
    if isinstance(image, dict) and "file_name" not in image and isinstance(image.get("coco_url"), str):
        return "/".join(_name(path, image, "coco_url").split("/")[-2:])
    return _name(path, image, "file_name")
