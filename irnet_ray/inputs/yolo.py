"""YOLO labels: the tags of an image are the classes in its text file. Boxes and polygons are ignored.

Names of classes stand in `data.yaml`, `classes.txt` or `obj.names`.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from functools import partial
from typing import Any

import yaml

from irnet_ray.errors import UserError, reason
from irnet_ray.inputs import beside, parallel
from irnet_ray.inputs.images_table import refuse_unnamed
from irnet_ray.inputs.listing import NO_TAGS, TAGS_FILE, Listed, Listing
from irnet_ray.inputs.mask_files import plain
from irnet_ray.inputs.place import Place, no_images
from irnet_ray.inputs.tags import check_tags, clean
from irnet_ray.storage.files import kind, open_binary
from irnet_ray.storage.locations import base_name, is_uri, join, parent, suffix
from irnet_ray.text import count

MOST = 16 << 20  # bytes of a file of names or labels
_NAMES = re.compile(r"(?i)(classes|predefined_classes|class_names|obj|.*\.names|_darknet\.labels)(\.(txt|names))?")
_LINE = re.compile(rb"\s*\d+(\.0+)?(\s+[-+.\deE]+){4,}\s*$")
_DEPTH = 2  # of files of names
_SAMPLE = 20  # label files that are looked at to recognize the format


def recognize(place: Place) -> str | None:
    """A .yaml file with names of classes, or a folder with images and text files of numbers for them."""
    if place.kind == "file" and suffix(place.location) in (".yaml", ".yml"):
        return "it is a .yaml file with names of classes" if yaml_names(place.location) else None
    if place.kind != "folder":
        return None
    pairs = _pairs(place)
    if not pairs:
        return None
    lists = _lists(place)
    sample = sorted(set(pairs.values()))[:_SAMPLE]
    looks = [_looks_like_labels(join(place.location, path)) for path in sample]
    # With names of classes and a folder `labels`, a label that cannot be read is a mistake: `listed` says where it is.
    is_sure = bool(lists) and all(_in_labels(path) for path in sample)
    if not is_sure and (False in looks or True not in looks):
        return None
    return f"it holds {lists[0]} and YOLO labels" if lists else "it holds YOLO labels"


def listed(place: Place) -> Listing:
    """All images with the classes of their label files.

    An empty file, or none beside others of its folder, means that the image shows none of the classes. Images of
    folders without any label file are left out. Raises UserError for labels that cannot be read.
    """
    place, given = _root(place)
    photos = place if place.images_in is None else Place(place.images_in)
    refuse_unnamed(photos.location, photos.images)
    pairs = _pairs(place)
    if not photos.images:
        raise no_images(photos.location)
    if not pairs:
        raise UserError(
            f"{place.location} holds no label files for its images: add labels/<image>.txt beside images/<image>."
        )
    beside.one_each(place.location, pairs)
    if given is not None:
        classes = yaml_names(given)
    else:
        given, classes = _names(place)
    twice = next((name for name, number in Counter(classes).items() if name and number > 1), None)
    if twice is not None:
        raise UserError(f"{given} calls two classes {twice}: rename one of them.")
    labels = _labels(place)
    beside.refuse_unpaired(photos.location, sorted(labels.difference(pairs.values())))
    files = sorted(set(pairs.values()))
    numbers = dict(zip(files, parallel.each(partial(_read, place.location, classes), files), strict=True))
    unlabeled = beside.untagged_folders(photos.images, pairs)
    images: dict[str, Listed] = {}
    empty = missing = 0
    for path in sorted(photos.images):
        if posixpath.dirname(path) in unlabeled:
            continue
        tags = numbers[pairs[path]] if path in pairs else []
        missing += path not in pairs
        empty += path in pairs and not tags
        check_tags(place.location, pairs.get(path, path), path, tags)
        images[path] = Listed(_id(path), tags, join(photos.location, path))
    if len({image.image_id for image in images.values()}) < len(images):
        images = {path: image._replace(image_id=path) for path, image in images.items()}
    notes = [f"names of classes from {base_name(given)}"]
    if empty or missing:
        nothing = [f"{count(empty, 'image')} with an empty label file"] * bool(empty)
        nothing += [f"{count(missing, 'image')} without a label file"] * bool(missing)
        notes.append(f"{' and '.join(nothing)}: taken to show none of the classes")
    reasons = dict.fromkeys([*files, *_lists(place)], TAGS_FILE)
    return photos.listing(images, reasons, NO_TAGS, notes)


def _root(place: Place) -> tuple[Place, str | None]:
    """The folder of the data set, and its .yaml file if that was named."""
    if place.kind == "folder":
        return place, None
    here = Place(parent(place.location), place.images_in)
    inside = _yaml(place.location).get("path")
    if here.images or not isinstance(inside, str) or is_uri(place.location):
        return here, place.location
    there = posixpath.normpath(posixpath.join(here.location, inside))
    return (Place(there, place.images_in) if kind(there) == "folder" else here), place.location


def _id(path: str) -> str:
    """The path of an image without a folder `images`."""
    *folders, name = path.split("/")
    return "/".join([*(folder for folder in folders if plain(folder) != "images"), name])


def _labels(place: Place) -> set[str]:
    """Label files by their place: in a folder `labels`."""
    return {path for path in place.named(".txt") if _in_labels(path) and not _NAMES.fullmatch(posixpath.basename(path))}


def _in_labels(path: str) -> bool:
    return any(plain(folder) in ("labels", "label") for folder in path.split("/")[:-1])


def _pairs(place: Place) -> dict[str, str]:
    photos = place if place.images_in is None else Place(place.images_in)
    texts = [path for path in place.named(".txt") if not _NAMES.fullmatch(posixpath.basename(path))]
    return beside.pair(photos.images, texts)


def _lists(place: Place) -> list[str]:
    """Files with names of classes; .yaml files come first."""
    near = [path for path in sorted(place.files) if path.count("/") <= _DEPTH]
    yamls = [path for path in near if suffix(path) in (".yaml", ".yml") and yaml_names(join(place.location, path))]
    return [*yamls, *(path for path in near if _NAMES.fullmatch(posixpath.basename(path)))]


def _names(place: Place) -> tuple[str, list[str]]:
    """Where the names of classes are, and the names."""
    lists = _lists(place)
    if not lists:
        raise UserError(
            f"{place.location} holds YOLO labels without names of classes: add data.yaml with names, or classes.txt."
        )
    known = []
    for path in lists:
        location = join(place.location, path)
        known.append(yaml_names(location) if suffix(path) in (".yaml", ".yml") else _lines(location))
    different = next((path for path, names in zip(lists, known, strict=True) if names != known[0]), None)
    if different is not None:
        raise UserError(
            f"{place.location} holds two lists of names that differ ({lists[0]}, {different}): keep the one that is "
            "right."
        )
    return join(place.location, lists[0]), known[0]


def _lines(path: str) -> list[str]:
    try:
        with open_binary(path) as stream:
            found = [line.strip() for line in stream.read(MOST).decode("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; write one name on each line.") from error
    while found and not found[-1]:
        found.pop()
    return found


def _yaml(path: str) -> dict[str, Any]:
    try:
        with open_binary(path) as stream:
            # All scalars stay text: `no` is a name here and not False.
            found = yaml.BaseLoader(stream.read(MOST).decode("utf-8-sig")).get_single_data()
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def yaml_names(path: str) -> list[str]:
    """The names in a .yaml file, by their numbers; none if it holds none."""
    names = _yaml(path).get("names")
    if isinstance(names, dict) and all(isinstance(n, str) and re.fullmatch(r"[0-9]{1,5}", n) for n in names):
        by_number = {int(number): name for number, name in names.items()}
        names = [by_number.get(number, "") for number in range(max(by_number, default=-1) + 1)]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return []
    return [name.strip() for name in names]


def _looks_like_labels(path: str) -> bool | None:
    """Whether the first line of a file is a class with its box or polygon; None for an empty file."""
    try:
        with open_binary(path) as stream:
            line = next((line for line in iter(partial(stream.readline, MOST), b"") if line.strip()), b"")
    except OSError:
        return False
    return None if not line.strip() else _LINE.match(line) is not None


def _read(location: str, classes: list[str], path: str) -> list[str]:
    """Names of the classes in a label file."""
    where = join(location, path)
    try:
        with open_binary(where) as stream:
            lines = stream.read().splitlines()
    except OSError as error:
        raise UserError(f"{where} cannot be read: {reason(error)}; check its permissions.") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if not _LINE.match(line):
            raise UserError(f"{where}, line {number} is no YOLO label: write a class number and its box on each line.")
        label = line.split()[0].partition(b".")[0]
        if len(label) > 6 or int(label) >= len(classes) or not classes[int(label)]:
            raise UserError(
                f"{where}, line {number} holds class {label[:20].decode()}, and only classes below "
                f"{len(classes):,} have names: add its name."
            )
        found.append(classes[int(label)])
    return clean(found)
