"""Files that fix the classes of a run: the list of their names, and other spellings of them.

classes.txt        one name on each line, in the order of the class numbers; also obj.names of YOLO
classes.csv        class,synonyms              dog,Dog;hound
data.yaml          names: [dog, cat]           of YOLO
classes.json       ["dog", "cat"], or a COCO file, whose categories count
synonyms.csv       spelling,class              Dog,dog        a spelling without a class is left out; or class,synonyms
synonyms.json      {"Dog": "dog"}
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from irnet_ray.classes import LEFT_OUT, Classes, Fit, fit, ids_of
from irnet_ray.errors import UserError, printable, reason
from irnet_ray.inputs.listing import Listed, Listing
from irnet_ray.inputs.yolo import yaml_names
from irnet_ray.storage.files import open_binary
from irnet_ray.storage.locations import absolute, suffix
from irnet_ray.text import count, names

MOST = 64 << 20  # bytes of a file
_LOOKED_AT = 20  # tags for which the nearest class is looked for
_CLASS = {"class", "classes", "name", "names"}
_SPELLING = {"synonym", "synonyms", "spelling", "spellings", "alias", "aliases"}


def read_classes(
    classes: str | os.PathLike[str] | None, synonyms: str | os.PathLike[str] | None, known: Classes | None = None
) -> Classes:
    """The classes that two files name; without a file, those that are `known` already.

    Raises:
        UserError: a file cannot be read, names a class twice, or a spelling of two classes or of none in the list.
    """
    known = known or Classes()
    listed: Sequence[str] = known.names
    spellings = dict(known.synonyms)
    if classes is not None:
        path = absolute(classes)
        listed, own = _list(path)
        spellings = {} if synonyms is not None else {s: c for s, c in spellings.items() if c in {*listed, LEFT_OUT}}
        _add(path, spellings, own, listed)
    if synonyms is not None:
        path = absolute(synonyms)
        given: dict[str, str] = dict(spellings) if classes is not None else {}
        _add(path, given, _pairs(path), listed)
        spellings = given
    return Classes(tuple(listed), spellings)


def _add(path: str, found: dict[str, str], pairs: Sequence[tuple[str, str]], listed: Sequence[str]) -> None:
    """Add spellings of classes. Raises UserError for one that contradicts what is known."""
    classes = set(listed)
    for spelling, name in pairs:
        if spelling in classes and spelling != name:
            raise UserError(f"{path} makes {spelling!r} a spelling of {name!r}, and it is a class itself: drop one.")
        if classes and name and name not in classes:
            raise UserError(
                f"{path} names the class {name!r}, which is not in the list{_near([name], listed)}: correct it."
            )
        if found.setdefault(spelling, name) != name:
            raise UserError(f"{path} makes {spelling!r} a spelling of {found[spelling]!r} and of {name!r}: keep one.")
    chains = sorted(name for spelling, name in found.items() if found.get(name, name) != name)
    if chains:
        raise UserError(
            f"{path} makes {chains[0]!r} a class, and a spelling of {found[chains[0]]!r}: name the last class at once."
        )


def _near(lost: Sequence[str], known: Sequence[str]) -> str:
    """The end of a sentence: the nearest known name to the first of the lost ones that has any."""
    for name in lost[:_LOOKED_AT]:
        for close in difflib.get_close_matches(name, known, n=1, cutoff=0.6):
            return f"; the nearest to {printable(name)} is {printable(close)}"
    return ""


def _text(path: str) -> str:
    try:
        with open_binary(path) as stream:
            data = stream.read(MOST + 1)
        if len(data) > MOST:
            raise UserError(f"{path} has more than {MOST >> 20} MiB: name a list of classes.")
        return data.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: name a file with the names of the classes.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; check its permissions.") from error


def _list(path: str) -> tuple[list[str], list[tuple[str, str]]]:
    """The names in a file of classes, in order, and pairs of a spelling and its class."""
    text, pairs = _text(path), []
    if suffix(path) == ".json":
        content = _json(path, text)
        entries = content.get("categories") if isinstance(content, dict) else content
        entries = entries if isinstance(entries, list) else []
        found = [one.get("name") if isinstance(one, dict) else one for one in entries]
        if not found or not all(isinstance(name, str) for name in found):
            raise UserError(f"{path} holds no list of names, nor COCO's categories: write one.")
        listed = [str(name).strip() for name in found]
    elif suffix(path) in (".yaml", ".yml"):
        listed = yaml_names(path)
        if not listed:
            raise UserError(f"{path} holds no list `names`: name a data.yaml of YOLO, or write one name on each line.")
    elif suffix(path) in (".csv", ".tsv"):
        head, rows = _rows(path, text)
        if not head:
            _refuse_numbers(path, rows)
        listed = [row[0] for row in rows]
        pairs = _several(rows)
    else:
        listed = [line.strip() for line in text.splitlines() if line.strip()]
    if not listed:
        raise UserError(f"{path} names no class: write one name on each line.")
    twice = [name for name, number in Counter(listed).items() if number > 1]
    if twice or "" in listed:
        raise UserError(
            f"{path} names {names([printable(name) for name in twice])} twice: keep one line each."
            if twice
            else f"{path} has an empty name: fill it in, or delete it."
        )
    return listed, pairs


def _pairs(path: str) -> list[tuple[str, str]]:
    """Pairs of a spelling and its class, or `LEFT_OUT`."""
    text = _text(path)
    if suffix(path) == ".json":
        content = _json(path, text)
        if not isinstance(content, dict) or not all(isinstance(name, str | None) for name in content.values()):
            raise UserError(f'{path} is no table of spellings: write {{"spelling": "class"}}.')
        if not content or not all(spelling.strip() for spelling in content):
            raise UserError(f"{path} holds {'an empty' if content else 'no'} spelling: write one for each class.")
        return [(spelling.strip(), (name or LEFT_OUT).strip()) for spelling, name in content.items()]
    head, rows = _rows(path, text)
    if head and head[0] in _CLASS:
        return _several(rows)
    long = next((row for row in rows if len(row) != 2), None)
    if long is not None:
        raise UserError(f"{path} has {count(len(long), 'value')} in a row ({names(long)}): write spelling,class.")
    if not rows:
        raise UserError(f"{path} holds no spelling: write spelling,class on each line.")
    return [(spelling, name) for spelling, name in rows]


def _json(path: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): correct it.") from error


def _several(rows: Sequence[Sequence[str]]) -> list[tuple[str, str]]:
    """Pairs of a spelling and its class, of rows of a class with its spellings."""
    return [(one.strip(), row[0]) for row in rows for cell in row[1:] for one in cell.split(";") if one.strip()]


def _refuse_numbers(path: str, rows: Sequence[Sequence[str]]) -> None:
    """Raise UserError for numbers beside names: they are the classes' ids, and not names of the same classes."""
    for row in rows:
        if len(row) > 1 and any(value.isdecimal() for value in row):
            raise UserError(
                f"{path} has a number beside a name ({names(row)}): keep the names, whose order gives the numbers, "
                "or write the header class,synonyms if the number is a name."
            )


def _rows(path: str, text: str) -> tuple[list[str], list[list[str]]]:
    """The header of a CSV file, empty if its first row is none, and its rows. The first value of each is not empty."""
    first = text.partition("\n")[0]
    delimiter = "\t" if "\t" in first else ";" if ";" in first and "," not in first else ","
    try:
        rows = [[value.strip() for value in row] for row in csv.reader(io.StringIO(text), delimiter=delimiter)]
    except csv.Error as error:
        raise UserError(f"{path} cannot be read as CSV: {error}; correct it.") from error
    rows = [row for row in rows if any(row)]
    head = [value.casefold() for value in rows[0]] if rows else []
    known = [value in _CLASS | _SPELLING for value in head]
    if any(known) and not all(known) and "" not in head:
        raise UserError(f"{path} has the columns {names(rows[0])}: keep those of the class and of its spellings.")
    head, rows = (head, rows[1:]) if all(known) else ([], rows)
    if any(not row[0] for row in rows):
        raise UserError(
            f"{path} has a row without a name ({names(next(row for row in rows if not row[0]))}): fill it in."
        )
    return head, rows


def apply(listing: Listing, classes: Classes, where: str) -> Listing:
    """A listing whose tags are the classes that they stand for, with notes on what was guessed.

    Raises:
        UserError: a tag that is no class of the list.
    """
    if not classes.names and not classes.synonyms:
        return listing
    images_of = Counter(tag for image in listing.images for tag in set(image.tags))
    found = fit([*images_of, *(tag for image in listing.images for tag in image.unknown)], classes)
    lost = [tag for tag in found.lost if tag in images_of]
    if lost:
        raise UserError(
            f"{where} has {count(len(lost), 'tag')} not in the list of classes ({names([printable(t) for t in lost])}"
            f"{_near(lost, classes.names)}): add them to --classes, or map them with --synonyms, to nothing if they "
            "are to be left out."
        )
    images = [_renamed(image, found) for image in listing.images]
    ids = ids_of(listing.category_ids, classes)
    return replace(listing, images=images, category_ids=ids, notes=[*listing.notes, *_notes(found, images_of, classes)])


def _renamed(image: Listed, found: Fit) -> Listed:
    tags = list(dict.fromkeys(known for tag in image.tags if (known := found.class_of[tag]) != LEFT_OUT))
    unknown = dict.fromkeys(found.class_of.get(tag, LEFT_OUT) for tag in image.unknown)
    return image._replace(tags=tags, unknown=tuple(tag for tag in unknown if tag != LEFT_OUT and tag not in tags))


def _notes(found: Fit, images_of: Counter[str], classes: Classes) -> list[str]:
    notes = []
    said = {"synonyms": lambda tag: tag in classes.synonyms, "spelling": lambda tag: tag not in classes.synonyms}
    for kind, belongs in said.items():
        shown = [f"{printable(tag)} is {printable(name)}" for tag, name in found.guessed.items() if belongs(tag)]
        if shown:
            notes.append(f"{count(len(shown), 'tag')} taken as a class by {kind}: {names(shown, 5)}")
    away = [tag for tag, name in found.class_of.items() if name == LEFT_OUT and tag in images_of]
    if away:
        total = sum(images_of[tag] for tag in away)
        notes.append(
            f"{count(len(away), 'tag')} of {count(total, 'image')} left out by the synonyms ({names(away, 5)})"
        )
    used = {found.class_of[tag] for tag in images_of}
    unused = [name for name in classes.names if name not in used]
    if unused:
        notes.append(
            f"{len(unused)} of {len(classes.names)} classes have no image and get no masks ({names(unused, 5)})"
        )
    return notes
