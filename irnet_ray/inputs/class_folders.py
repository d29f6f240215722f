"""One folder per class, as in ImageNet: `WHERE/<class>/.../<image>`. The tag is the name of the class."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence

from irnet_ray.errors import UserError, reason
from irnet_ray.inputs.images_table import refuse_unnamed
from irnet_ray.inputs.listing import TAGS_FILE, Listed, Listing
from irnet_ray.inputs.place import Place
from irnet_ray.storage.files import is_file, open_binary
from irnet_ray.storage.locations import join, parent
from irnet_ray.text import count, names

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
STRAY = 2  # class folders hold at least so many times the images that are beside them
MAPPINGS = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")

_WORDNET_ID = re.compile(r"n\d{8}")


def recognize(place: Place) -> str | None:
    """Images are in at least two folders, or in one that is named by a WordNet id, and few are beside the folders.

    One folder with another name is not enough: images in a folder `images` lack their tags file.
    """
    if place.kind != "folder":
        return None
    files, stray = _split(place)
    classes = {path.partition("/")[0] for path in files}
    if len(stray) * STRAY > len(files):
        return None
    if len(classes) > 1 or (classes and all(map(_WORDNET_ID.fullmatch, classes))):
        which = "all its images are" if not stray else f"{len(files):,} of its {len(files) + len(stray):,} images are"
        return f"{which} in {count(len(classes), 'folder')}, one for each class"
    return None


def _split(place: Place) -> tuple[list[str], list[str]]:
    """Images in folders and links that lead nowhere, and those beside the folders; sorted."""
    files = sorted([*place.images, *place.lost_images])
    return [path for path in files if "/" in path], [path for path in files if "/" not in path]


def listed(place: Place) -> Listing:
    """All images with their class as tag, and links that lead nowhere; ids are paths below the folder."""
    location, (found, _) = place.location, _split(place)
    refuse_unnamed(location, found)
    classes = sorted({path.partition("/")[0] for path in found})
    if SPLITS.issuperset(name.lower() for name in classes):
        raise UserError(f"{location} holds splits and not classes ({names(classes)}): name one of its folders.")
    blank = [name for name in classes if not name.strip()]
    if blank:
        raise UserError(f"{location} has {count(len(blank), 'class folder')} without a name: rename it.")
    tag_of = _tags(location, classes)
    images = {path: Listed(path, [tag_of[path.partition("/")[0]]], join(location, path)) for path in found}
    return place.listing(images, dict.fromkeys(MAPPINGS, TAGS_FILE), "an image beside the class folders")


def _tags(location: str, classes: Sequence[str]) -> dict[str, str]:
    """The tag of each class folder: its name, or with a mapping beside the folders the first name of its WordNet id.

    Where several classes share that name (ImageNet has two cranes), the tag is all synonyms of the class, and where
    these are shared too, name and id.
    """
    if not any(map(_WORDNET_ID.fullmatch, classes)):
        return {name: name.strip() for name in classes}
    wanted = frozenset(classes)
    synonyms = next((_read(path, wanted) for path in _mappings(location) if is_file(path)), {})
    first = {name: synonyms.get(name, name).partition(",")[0].strip() for name in classes}
    firsts, wholes = Counter(first.values()), Counter(synonyms.values())
    tags = {}
    for name in classes:
        if firsts[first[name]] == 1:
            tags[name] = first[name]
        else:
            tags[name] = synonyms[name] if wholes[synonyms.get(name, "")] == 1 else f"{first[name]} ({name})"
    return tags


def _mappings(location: str) -> list[str]:
    folders = (location, parent(location))
    return [join(folder, name) for folder in folders for name in MAPPINGS]


def _read(path: str, wanted: frozenset[str]) -> dict[str, str]:
    """Synonyms, separated by ', ', of the wanted WordNet ids, from lines `n01440764 tench, Tinca tinca`."""
    synonyms = {}
    try:
        with io.TextIOWrapper(open_binary(path), encoding="utf-8-sig") as lines:
            for line in lines:
                name, _, words = line.strip().replace("\t", " ", 1).partition(" ")
                if name in wanted and words.strip(" ,"):
                    synonyms[name] = words.strip(" ,")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; check its permissions.") from error
    return synonyms
