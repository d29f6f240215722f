"""A VOC devkit: images in `JPEGImages`, tags are the names of the objects in `Annotations/<image>.xml`.

Boxes are not looked at.
"""

from __future__ import annotations

import posixpath
import re
from functools import partial
from xml.parsers import expat

from irnet_ray.errors import UserError
from irnet_ray.inputs import parallel
from irnet_ray.inputs.images_table import Listed, count, is_image, names, refuse_unnamed
from irnet_ray.inputs.tags import check_tags, clean
from irnet_ray.storage import files as storage

_NAME = ["annotation", "object", "name"]


def find(location: str) -> str | None:
    """The devkit's folder of one year at `location`, in its folder VOC<year>, or in that of its folder VOCdevkit.

    None where there is none; UserError where there are several.
    """
    if _is_devkit(location):
        return location
    for folder in (location, storage.join(location, "VOCdevkit")):
        if storage.base_name(folder) != "VOCdevkit" or storage.kind(folder) != "folder":
            continue
        years = [storage.join(folder, name) for name in storage.folders(folder) if re.fullmatch(r"VOC\d{4}", name)]
        found = [year for year in years if _is_devkit(year)]
        if len(found) > 1:
            years_found = ", ".join(map(storage.base_name, found))
            raise UserError(f"{folder} holds several years ({years_found}): name the folder of one.")
        if found:
            return found[0]
    return None


def devkit_of_list(location: str) -> str | None:
    """The devkit that a list of images belongs to, `ImageSets/Main/train.txt`; None for other files."""
    sets = storage.parent(storage.parent(location))
    devkit = storage.parent(sets)
    if storage.suffix(location) == ".txt" and storage.base_name(sets) == "ImageSets" and _is_devkit(devkit):
        return devkit
    return None


def _is_devkit(location: str) -> bool:
    return all(storage.kind(storage.join(location, name)) == "folder" for name in ("JPEGImages", "Annotations"))


def listed(devkit: str, only: str | None = None) -> list[Listed]:
    """Every image of the devkit, or those of the list at `only`, by their file names."""
    folder = storage.join(devkit, "JPEGImages")
    lost: list[str] = []
    files = sorted([*filter(is_image, storage.walk(folder, lost)), *filter(is_image, lost)])
    refuse_unnamed(folder, files)
    if only is not None:
        files = _chosen(files, only)
    if not files:
        raise UserError(f"{folder} holds no images: name the folder of a whole VOC devkit.")
    found = parallel.each(partial(_read, devkit), files)
    untagged = [name for name, objects in zip(files, found, strict=True) if objects is None]
    if untagged:
        raise UserError(
            f"{count(len(untagged), 'image file')} in {folder} without a file in Annotations ({names(untagged)}): "
            "name a list of annotated images, such as ImageSets/Main/trainval.txt, or add the files."
        )
    images = []
    for name, objects in zip(files, found, strict=True):
        tags = clean(objects or [])
        check_tags(storage.join(devkit, "Annotations"), _xml(name), name, tags)
        images.append(Listed(name, tags, storage.join(folder, name)))
    return images


def _chosen(files: list[str], only: str) -> list[str]:
    """The files that a list names, whose lines begin with an image's name without extension."""
    try:
        with storage.open_binary(only) as stream:
            lines = stream.read().decode("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{only} cannot be read: {storage.reason(error)}; check the file.") from error
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
    """Names of an image's objects; None where it has no annotation."""
    path = storage.join(devkit, f"Annotations/{_xml(name)}")
    try:
        with storage.open_binary(path) as stream:
            return object_names(stream.read())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {storage.reason(error)}; check its permissions.") from error
    except (expat.ExpatError, ValueError) as error:
        raise UserError(f"{path} is no annotation that can be read: {error}; write it again.") from error


def object_names(xml: bytes) -> list[str]:
    """Names of the objects of a VOC annotation, not those of their parts.

    Raises ExpatError for what is no XML, and ValueError for a document that declares entities: VOC has none, and those
    of strangers unpack to fill the memory. Entities outside the document are never fetched.
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
