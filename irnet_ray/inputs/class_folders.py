"""One folder per class, as ImageNet's: `WHERE/<class>/.../<image>`, the class's name or WordNet id being the tag."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Sequence

from irnet_ray.errors import UserError
from irnet_ray.inputs.images_table import Listed, count, names, refuse_unnamed
from irnet_ray.storage import files as storage

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
MAPPINGS = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")

_WORDNET_ID = re.compile(r"n\d{8}")


def recognized(files: Sequence[str]) -> bool:
    """Whether these image files, by their paths below a folder, lie in one folder per class.

    All of them are in folders, and these are two or more or have WordNet ids for names: images in one folder `images`
    lack their tags file.
    """
    classes = {path.partition("/")[0] for path in files if "/" in path}
    flat = any("/" not in path for path in files)
    return bool(classes) and not flat and (len(classes) > 1 or all(map(_WORDNET_ID.fullmatch, classes)))


def listed(location: str, files: Sequence[str], lost: Sequence[str]) -> list[Listed]:
    """The images at `files`, and links that lead nowhere, with their class as tag; ids are paths below the folder."""
    found = sorted([*files, *lost])
    refuse_unnamed(location, found)
    classes = sorted({path.partition("/")[0] for path in found})
    if SPLITS.issuperset(name.lower() for name in classes):
        raise UserError(f"{location} holds splits and not classes ({names(classes)}): name one of its folders.")
    blank = [name for name in classes if not name.strip()]
    if blank:
        raise UserError(f"{location} has {count(len(blank), 'class folder')} without a name: rename it.")
    tag_of = _tags(location, classes)
    return [Listed(path, [tag_of[path.partition("/")[0]]], storage.join(location, path)) for path in found]


def _tags(location: str, classes: Sequence[str]) -> dict[str, str]:
    """The tag of each class folder: its name, or where a mapping lies beside them the first name of its WordNet id.

    Names that several of the classes share (ImageNet's two cranes) are told apart by all of their synonyms, and where
    these are the same too, by the id.
    """
    if not any(map(_WORDNET_ID.fullmatch, classes)):
        return {name: name.strip() for name in classes}
    wanted = frozenset(classes)
    synonyms = next((_read(path, wanted) for path in _mappings(location) if storage.is_file(path)), {})
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
    folders = (location, storage.parent(location))
    return [storage.join(folder, name) for folder in folders for name in MAPPINGS]


def _read(path: str, wanted: frozenset[str]) -> dict[str, str]:
    """Synonyms, separated by ', ', of the wanted WordNet ids, from lines `n01440764 tench, Tinca tinca`."""
    synonyms = {}
    try:
        with io.TextIOWrapper(storage.open_binary(path), encoding="utf-8-sig") as lines:
            for line in lines:
                name, _, words = line.strip().replace("\t", " ", 1).partition(" ")
                if name in wanted and words.strip(" ,"):
                    synonyms[name] = words.strip(" ,")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {storage.reason(error)}; check its permissions.") from error
    return synonyms
