"""A VOC devkit: images in `JPEGImages`; tags are the names of the objects in `Annotations/<image>.xml`.

Boxes are ignored.
"""

from __future__ import annotations

import posixpath
import re
from functools import partial
from xml.parsers import expat

from irnet_ray.errors import UserError, reason
from irnet_ray.inputs import parallel
from irnet_ray.inputs.images_table import refuse_unnamed
from irnet_ray.inputs.listing import TAGS_FILE, Listed, Listing
from irnet_ray.inputs.place import Place
from irnet_ray.inputs.tags import check_tags, clean
from irnet_ray.storage.files import folders, kind, open_binary
from irnet_ray.storage.locations import base_name, join, parent, suffix
from irnet_ray.text import count, names

_IMAGES = "JPEGImages/"
_NAME = ["annotation", "object", "name"]


def recognize(place: Place) -> str | None:
    """A devkit, or a text file in `ImageSets` of one."""
    if place.kind == "folder" and _find(place.location) is not None:
        return "it holds JPEGImages and Annotations"
    if place.kind == "file" and _devkit_of_list(place.location) is not None:
        return "it is a list in ImageSets of a VOC devkit"
    return None


def _find(location: str) -> str | None:
    """The folder of one year: `location` itself, its folder VOC<year>, or VOCdevkit/VOC<year> below it; None if none.

    Raises UserError where there are several years.
    """
    if _is_devkit(location):
        return location
    for folder in (location, join(location, "VOCdevkit")):
        if base_name(folder) != "VOCdevkit" or kind(folder) != "folder":
            continue
        years = [join(folder, name) for name in folders(folder) if re.fullmatch(r"VOC\d{4}", name)]
        found = [year for year in years if _is_devkit(year)]
        if len(found) > 1:
            years_found = ", ".join(map(base_name, found))
            raise UserError(f"{folder} holds several years ({years_found}): name the folder of one.")
        if found:
            return found[0]
    return None


def _devkit_of_list(location: str) -> str | None:
    """The devkit that a list of images such as `ImageSets/Main/train.txt` belongs to; None for other files."""
    sets = parent(parent(location))
    devkit = parent(sets)
    if suffix(location) == ".txt" and base_name(sets) == "ImageSets" and _is_devkit(devkit):
        return devkit
    return None


def _is_devkit(location: str) -> bool:
    return all(kind(join(location, name)) == "folder" for name in ("JPEGImages", "Annotations"))


def listed(place: Place) -> Listing:
    """Every image of the devkit, or only those of the list, by their file names.

    An image whose annotation holds no object has no tags. The account is of the whole devkit.
    """
    devkit = Place((_find if place.kind == "folder" else _devkit_of_list)(place.location) or place.location)
    folder = join(devkit.location, "JPEGImages")
    photos = (path for path in (*devkit.images, *devkit.lost_images) if path.startswith(_IMAGES))
    files = sorted(path.removeprefix(_IMAGES) for path in photos)
    refuse_unnamed(folder, files)
    if place.kind == "file":
        files = _chosen(files, place.location)
    if not files:
        raise UserError(f"{folder} holds no images: name the folder of a whole VOC devkit.")
    found = parallel.each(partial(_read, devkit.location), files)
    without = [name for name, objects in zip(files, found, strict=True) if objects is None]
    if without:
        raise UserError(
            f"{count(len(without), 'image file')} in {folder} without a file in Annotations ({names(without)}): "
            "name a list of annotated images, such as ImageSets/Main/trainval.txt, or add the files."
        )
    images = {}
    for name, objects in zip(files, found, strict=True):
        tags = clean(objects or [])
        check_tags(join(devkit.location, "Annotations"), _xml(name), name, tags)
        images[_IMAGES + name] = Listed(name, tags, join(folder, name))
    reasons = {path: TAGS_FILE for path in devkit.files if path.startswith("Annotations/")}
    others = {path: "an image outside JPEGImages" for path in devkit.images if not path.startswith(_IMAGES)}
    return devkit.listing(images, {**reasons, **others}, f"not listed in {base_name(place.location)}")


def _chosen(files: list[str], only: str) -> list[str]:
    """The files that a list names. Each of its lines begins with the name of an image without extension."""
    try:
        with open_binary(only) as stream:
            lines = stream.read().decode("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{only} cannot be read: {reason(error)}; check the file.") from error
    wanted = dict.fromkeys(words[0] for line in lines if (words := line.split()))
    file_of = {posixpath.splitext(name)[0]: name for name in files}
    missing = [name for name in wanted if name not in file_of]
    if missing:
        raise UserError(
            f"{only} lists {count(len(missing), 'image')} not found in JPEGImages ({names(missing)}): "
            "add the files, or delete their lines."
        )
    return sorted(file_of[name] for name in wanted)


def _xml(name: str) -> str:
    return posixpath.splitext(name)[0] + ".xml"


def _read(devkit: str, name: str) -> list[str] | None:
    """Names of the objects of an image; None if it has no annotation."""
    path = join(devkit, f"Annotations/{_xml(name)}")
    try:
        with open_binary(path) as stream:
            return object_names(stream.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; check its permissions.") from error
    except (expat.ExpatError, ValueError) as error:
        raise UserError(f"{path} is not a readable annotation: {error}; write it again.") from error


def object_names(xml: bytes) -> list[str]:
    """Names of the objects of a VOC annotation, without the names of their parts.

    Raises ExpatError for bytes that are not XML, and ValueError for a document that declares entities. VOC declares
    none, and nested entities can expand until they fill the memory. Entities outside the document are never fetched.
    """
    path: list[str] = []
    text: list[str] = []
    found: list[str] = []

    def start(name: str, _: object) -> None:
        path.append(name)
        text.clear()

    def end(_: str) -> None:
        if path == _NAME:
            found.append("".join(text))
        path.pop()

    def refuse(*_: object) -> None:
        raise ValueError("it declares entities")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text.append
    parser.EntityDeclHandler = refuse
    parser.Parse(xml, True)
    return found
