"""VOC annotations without VOC's folders: an .xml file beside each image, or in a folder such as `annotations`."""

from __future__ import annotations

from functools import partial
from xml.parsers import expat

from irnet_ray.errors import UserError, reason
from irnet_ray.inputs import beside, parallel
from irnet_ray.inputs.images_table import refuse_unnamed
from irnet_ray.inputs.listing import NO_TAGS, TAGS_FILE, Listed, Listing
from irnet_ray.inputs.place import Place
from irnet_ray.inputs.tags import check_tags, clean
from irnet_ray.inputs.voc import object_names
from irnet_ray.storage.files import open_binary
from irnet_ray.storage.locations import join
from irnet_ray.text import count

_HEAD = 4096  # bytes of an annotation, in which its first element begins


def recognize(place: Place) -> str | None:
    """A folder with images and .xml files of the same names that hold VOC annotations."""
    if place.kind != "folder" or not place.named(".xml"):
        return None
    pairs = beside.pair(_photos(place).images, place.named(".xml"))
    first = min(pairs.values(), default=None)
    if first is None or not _is_annotation(join(place.location, first)):
        return None
    return f"it holds XML annotations of {count(len(pairs), 'image')}"


def listed(place: Place) -> Listing:
    """Every image with an annotation. One whose annotation holds no object has no tags.

    Images without one are left out. Raises UserError for annotations that cannot be read, or that belong to no image.
    """
    photos = _photos(place)
    refuse_unnamed(photos.location, photos.images)
    pairs = beside.pair(photos.images, place.named(".xml"))
    beside.one_each(place.location, pairs)
    unpaired = set(place.named(".xml")).difference(pairs.values())
    beside.refuse_unpaired(photos.location, [p for p in unpaired if _is_annotation(join(place.location, p))])
    paths = sorted(pairs)
    found = parallel.each(partial(_read, place.location), [pairs[path] for path in paths])
    images: dict[str, Listed] = {}
    for path, objects in zip(paths, found, strict=True):
        tags = clean(objects)
        check_tags(place.location, pairs[path], path, tags)
        images[path] = Listed(path, tags, join(photos.location, path))
    nothing = sum(not image.tags for image in images.values())
    notes = [f"{count(nothing, 'image')} without objects: they show none of the classes"] if nothing else []
    return photos.listing(images, dict.fromkeys(pairs.values(), TAGS_FILE), NO_TAGS, notes)


def _photos(place: Place) -> Place:
    return place if place.images_in is None else Place(place.images_in)


def _is_annotation(path: str) -> bool:
    try:
        with open_binary(path) as stream:
            return b"<annotation" in stream.read(_HEAD)
    except OSError:
        return False


def _read(location: str, name: str) -> list[str]:
    path = join(location, name)
    try:
        with open_binary(path) as stream:
            return object_names(stream.read())
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; check its permissions.") from error
    except (expat.ExpatError, ValueError) as error:
        raise UserError(f"{path} is not a readable annotation: {error}; write it again.") from error
