"""Verified labels, as Open Images has them: a confidence for each image and tag, and names of classes apart.

ImageID,Source,LabelName,Confidence        0 says that somebody looked and the tag is absent
/m/0bt9lr,Dog                              class-descriptions*.csv beside the table: names of the classes
"""

from __future__ import annotations

import csv
import io
import posixpath
import re
from collections.abc import Sequence
from typing import NamedTuple

from irnet_ray.errors import UserError, reason
from irnet_ray.inputs.raw_table import RawTable
from irnet_ray.storage.files import file_names, kind, open_binary
from irnet_ray.storage.locations import base_name, join, parent
from irnet_ray.text import count, names

MOST_UNKNOWN = 20_000_000  # tags of all images together; more would not fit into memory

_LIST = re.compile(r"^classes\.csv$|class(es)?-descriptions?.*\.csv$")
_MACHINE_ID = re.compile(r"/[a-z]/\w+")


class States(NamedTuple):
    """What a row says about tags; it says nothing about the others."""

    present: list[str]
    unknown: Sequence[str] = ()
    absent: Sequence[str] = ()


def read(raw: RawTable, confidence: str, tags: Sequence[list[str]], notes: list[str]) -> list[States]:
    """What each row says. 1 means present and 0 absent; what lies between is unknown.

    Raises UserError for another confidence.
    """
    states: list[States] = []
    for row, (value, found) in enumerate(zip(raw.values(confidence), tags, strict=True)):
        try:
            sure = float(value)
        except (TypeError, ValueError):
            sure = -1.0
        if not 0 <= sure <= 1:
            raise UserError(f"{raw.path}, {raw.place(row)} holds no number from 0 to 1 in {confidence}: correct it.")
        states.append(States(found) if sure == 1 else States([], found) if sure else States([], (), found))
    absent, between = sum(bool(one.absent) for one in states), sum(bool(one.unknown) for one in states)
    notes.append(f"{confidence} 1 means present and 0 absent ({count(absent, 'row')})")
    if between:
        notes.append(f"{count(between, 'row')} with a {confidence} between 0 and 1: taken as unknown")
    return states


def unverified(
    present: Sequence[Sequence[str]], absent: Sequence[Sequence[str]], vocabulary: Sequence[str], notes: list[str]
) -> list[tuple[str, ...]]:
    """Tags of each image that are neither verified as present nor as absent.

    Args:
        present, absent: the verified tags of each image.
        vocabulary: all tags.
        notes: gets how many were found.
    """
    tags = set(vocabulary)  # a tag may be verified as absent where no image has it
    known = [tags.intersection((*there, *away)) for there, away in zip(present, absent, strict=True)]
    total = len(known) * len(tags) - sum(map(len, known))
    if total > MOST_UNKNOWN:
        notes.append(f"{count(total, 'pair')} of image and tag that nobody verified, too many to keep: taken as absent")
        return [()] * len(known)
    notes.append(f"{count(total, 'pair')} of image and tag that nobody verified: taken as unknown")
    return [tuple(tag for tag in vocabulary if tag not in some) for some in known]


def name_ids(path: str, tags: Sequence[list[str]], notes: list[str]) -> list[list[str]]:
    """Tags with ids such as `/m/0bt9lr` replaced by the names of `class-descriptions*.csv` near the table."""
    ids = {tag for some in tags for tag in some}
    if not ids or not all(map(_MACHINE_ID.fullmatch, ids)):
        return list(tags)
    name_of = _descriptions(path)
    lost = sorted(ids.difference(name_of))
    if not name_of:
        notes.append("the tags are ids of Open Images; put class-descriptions.csv beside the table to get their names")
    elif lost:
        notes.append(f"{count(len(lost), 'id')} not in the list of classes ({names(lost)})")
    return [[name_of.get(tag, tag) for tag in some] for some in tags]


def is_list_of_classes(name: str) -> bool:
    """Whether a file is Open Images' list of classes, by its name."""
    return _LIST.search(posixpath.basename(name).lower()) is not None


def _descriptions(path: str) -> dict[str, str]:
    here = parent(path)
    found: dict[str, str] = {}
    for folder in (parent(here), join(parent(here), "metadata"), join(here, "metadata"), here):
        for name in file_names(folder) if kind(folder) == "folder" else ():
            if is_list_of_classes(name):
                found.update(_read_list(join(folder, name)))
    by_name: dict[str, list[str]] = {}
    for machine_id, shown in found.items():
        by_name.setdefault(shown, []).append(machine_id)
    return {i: shown if len(by_name[shown]) == 1 else f"{shown} ({i})" for i, shown in found.items()}


def _read_list(path: str) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        with io.TextIOWrapper(open_binary(path), encoding="utf-8-sig", newline="") as stream:
            for values in csv.reader(stream):
                if len(values) >= 2 and _MACHINE_ID.fullmatch(values[0].strip()) and values[1].strip():
                    found[values[0].strip()] = values[1].strip()
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as a list of classes: {error}; correct it.") from error
    except OSError as error:
        raise UserError(f"{base_name(path)} cannot be read: {reason(error)}; check its permissions.") from error
    return found
