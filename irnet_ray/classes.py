"""The classes of a run: a fixed list with its order, and other spellings of them.

The same table serves images and their tags, and truth: `label`, `relabel`, `inspect`, `evaluate`, `calibrate`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

LEFT_OUT = ""  # as the class of a spelling: such tags do not count


@dataclass(frozen=True)
class Classes:
    """Names of classes in the order of their numbers, and other spellings of them."""

    names: tuple[str, ...] = ()  # none: any tag is a class
    synonyms: Mapping[str, str] = field(default_factory=dict)  # spelling ▶ class, or LEFT_OUT

    def find(self, name: str) -> str | None:
        """The class that a name stands for; `LEFT_OUT` where it does not count; None where no class fits.

        A class has its own name and its synonyms. Else it is the only class whose spelling differs by no more than
        case, spaces, hyphens, Unicode form or the plural.
        """
        if name in self.synonyms:
            return self.synonyms[name]
        if name in self._known or not self.names:
            return name
        near = self._by_spelling.get(folded(name), set()) or self._near_plurals(name)
        return next(iter(near)) if len(near) == 1 else None

    def _near_plurals(self, name: str) -> set[str]:
        """Classes whose plural this is, and those of which this is the singular."""
        spelling, known = folded(name), self._by_spelling
        singulars = (one for one in known if spelling in plurals(one)) if spelling.endswith("s") else ()
        return {found for one in (*plurals(spelling), *singulars) for found in known.get(one, ())}

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _by_spelling(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for spelling, name in [*((name, name) for name in self.names), *self.synonyms.items()]:
            found.setdefault(folded(spelling), set()).add(name)
        return found

    def to_json(self) -> dict[str, Any]:
        """The entries `classes` and `synonyms` of a version's `data`, without empty ones."""
        known = {"classes": list(self.names), "synonyms": dict(self.synonyms)}
        return {name: value for name, value in known.items() if value}

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Classes:
        """The opposite of `to_json`."""
        return Classes(tuple(found.get("classes") or ()), dict(found.get("synonyms") or {}))


def folded(name: str) -> str:
    """A name without case, spaces, hyphens and underscores, in one Unicode form."""
    return re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", name).casefold())


def plurals(word: str) -> Iterator[str]:
    """The plurals that an English word may have."""
    yield from (f"{word}s", f"{word}es")
    if word.endswith("y"):
        yield f"{word[:-1]}ies"


@dataclass(frozen=True)
class Fit:
    """How names, of tags or of truth, fit classes."""

    class_of: dict[str, str]  # of each name that fits; `LEFT_OUT` where it does not count
    lost: list[str]  # names that fit no class, sorted

    @property
    def guessed(self) -> dict[str, str]:
        """Names that were taken for another spelling of a class, with their class."""
        return {name: known for name, known in self.class_of.items() if known not in (name, LEFT_OUT)}


def fit(names: Iterable[str], classes: Classes) -> Fit:
    """How some names fit classes."""
    found = {name: classes.find(name) for name in sorted(set(names))}
    return Fit(
        {name: known for name, known in found.items() if known is not None},
        [name for name, known in found.items() if known is None],
    )


def ids_of(category_ids: Mapping[str, Any], classes: Classes) -> dict[str, Any]:
    """COCO's own number of each class. Categories that fit no class keep their name; the first of several counts."""
    found: dict[str, Any] = {}
    for name, number in category_ids.items():
        known = classes.find(name)
        if known != LEFT_OUT:
            found.setdefault(name if known is None else known, number)
    return found
