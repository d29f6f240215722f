"""What looks wrong with images and their tags, before anything is computed: one row for each kind of suspicion.

Tags are all the supervision there is, so a misread tag is a wrong data set. A suspicion that would make all labels
worthless stops a run until it is accepted by name; the others are warnings.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from irnet_ray.classes import folded, plurals
from irnet_ray.errors import UserError, printable
from irnet_ray.inputs import cells
from irnet_ray.inputs.listing import NO_TAGS
from irnet_ray.inputs.mask_files import IMAGE_FOLDERS, MASK_FOLDERS, plain
from irnet_ray.inputs.overview import Overview
from irnet_ray.text import count, cut, names

FEW = 20  # images; a class with fewer is hardly learnt
MANY_TAGS = 20  # from which on a vocabulary of tags that occur once is suspicious, whatever they look like
CAPTION_WORDS = 3  # of a tag, from which on it reads like a caption
SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
# A class may well be called `mask` or `photo`: these names say something only where all class folders have such names.
_WEAK = frozenset({"gt", "image", "img", "label", "mask", "photo", "photos", "picture", "pictures", "rgb", "seg"})
_SEPARATOR = re.compile(r"[,;|\t\n、，；]")
_LIST = re.compile(r"\s*[\[({].*[\])}]\s*", re.DOTALL)


@dataclass(frozen=True)
class Suspicion:
    """A kind of suspicion. `find` returns its cases, each in a few words; none where all is well."""

    name: str
    severity: Literal["stop", "warning"]
    find: Callable[[Overview], Sequence[str]]
    says: str  # what is wrong, followed by the cases
    do: str  # what the user can do
    of_training: bool = False  # whether it matters only where a classifier is trained on these images


@dataclass(frozen=True)
class Found:
    """A suspicion with its cases."""

    kind: Suspicion
    cases: list[str]

    def sentence(self) -> str:
        """What is wrong, with the first few cases, and what to do; without a full stop."""
        cases = names([printable(cut(case, 80)) for case in self.cases], 5)
        return f"{self.kind.says} ({cases}): {self.kind.do}"

    def to_json(self) -> dict[str, Any]:
        """For `inspect --json`."""
        return {
            "name": self.kind.name,
            "severity": self.kind.severity,
            "sentence": self.sentence() + ".",
            "cases": self.cases,
        }


def _untagged(data: Overview) -> list[str]:
    left = data.reading.account.left_out
    return [f"{left.counts[NO_TAGS]:,}: {names(left.examples[NO_TAGS])}"] if left.counts[NO_TAGS] else []


def _captions(data: Overview) -> list[str]:
    once = sorted(tag for tag, images in data.images_of.items() if images == 1)
    if 2 * len(once) <= len(data.images_of):
        return []
    long = [tag for tag in once if len(tag.split()) >= CAPTION_WORDS]
    return once if 2 * len(long) > len(once) or len(data.images_of) >= MANY_TAGS else []


def _folder_names(data: Overview) -> list[str]:
    if data.reading.format != "class folders":
        return []
    known = {tag: plain(tag) for tag in data.images_of if plain(tag) in MASK_FOLDERS | IMAGE_FOLDERS | SPLITS}
    all_of_them = len(known) == len(data.images_of)
    return sorted(tag for tag, name in known.items() if all_of_them or name not in _WEAK)


def _separators(data: Overview) -> list[str]:
    parts_of = {tag: _parts(tag) for tag in data.images_of if _SEPARATOR.search(tag) or _LIST.fullmatch(tag)}
    held = Counter(part for parts in parts_of.values() for part in parts)
    joined = [
        tag
        for tag, parts in parts_of.items()
        if _LIST.fullmatch(tag) or any(held[part] > 1 or part in data.images_of for part in parts)
    ]
    # One tag with its synonyms, such as "maillot, tank suit" beside "maillot", is no sign of another separator.
    if len(joined) <= 1 and 10 * len(joined) <= len(data.images_of):
        joined = []
    return sorted(f'"{tag}"' for tag in {*joined, *cells.several(data.images_of)})


def _parts(tag: str) -> set[str]:
    return {part.strip(" []{}()'\"") for part in _SEPARATOR.split(tag)} - {""}


def _never_absent(data: Overview) -> list[str]:
    return sorted(tag for tag, n in data.images_of.items() if n + data.unknown_of[tag] >= data.images)


def _no_absence(data: Overview) -> list[str]:
    found = _never_absent(data)
    return found if len(found) == len(data.images_of) else []


def _on_every_image(data: Overview) -> list[str]:
    found = _never_absent(data)
    return found if len(found) < len(data.images_of) else []


def _spellings(data: Overview) -> list[str]:
    by_spelling: dict[str, list[str]] = defaultdict(list)
    for tag in sorted(data.images_of):
        by_spelling[folded(tag)].append(tag)
    for spelling in sorted(by_spelling):
        for plural in plurals(spelling):
            if plural in by_spelling:
                by_spelling[spelling] += by_spelling.pop(plural)
    groups = (sorted(group, key=lambda tag: (-data.images_of[tag], tag)) for group in by_spelling.values())
    return sorted(" / ".join(f"{tag} {data.images_of[tag]}" for tag in group) for group in groups if len(group) > 1)


def _parents(data: Overview) -> list[str]:
    """Tags that are on each image of another tag. Rare tags, and tags on every image, say nothing."""
    always: dict[str, set[str]] = {}
    for tags in data.tags_of:
        for tag in tags:
            always[tag] = always[tag].intersection(tags) if tag in always else set(tags)
    common = {tag for tag, images in data.images_of.items() if images >= FEW}
    everywhere = set(_never_absent(data))
    return sorted(
        f"{parent} with each {child}"
        for child in common - everywhere
        for parent in always[child] - {child} - everywhere
        # Of two tags that are always together, one case is enough.
        if data.images_of[parent] > data.images_of[child] or parent < child
    )


def _few_images(data: Overview) -> list[str]:
    return [f"{tag} {images}" for tag, images in reversed(data.ranked()) if images < FEW]


def _duplicates(data: Overview) -> list[str]:
    same: dict[str, list[int]] = defaultdict(list)
    for row, content in enumerate(data.reading.table["content"].to_pylist()):
        if content is not None:
            same[content].append(row)
    cases = []
    for rows in same.values():
        if len(rows) > 1:
            differ = len({frozenset(data.tags_of[row]) for row in rows}) > 1
            cases.append(" = ".join(data.ids[row] for row in rows) + (" with other tags" if differ else ""))
    return cases


SUSPICIONS: dict[str, Suspicion] = {
    row.name: row
    for row in (
        Suspicion(
            "untagged",
            "stop",
            _untagged,
            "there are image files without tags",
            "list them, or move them out of the folder",
        ),
        Suspicion(
            "folder-names",
            "stop",
            _folder_names,
            "folders whose names say what kind of files they hold would become classes, and no tags were found",
            "add a tags file, or name the folder that holds one folder for each class",
        ),
        Suspicion(
            "captions",
            "stop",
            _captions,
            "most tags occur once, as captions do",
            "tag images with names of classes that many images share",
        ),
        Suspicion(
            "separators",
            "stop",
            _separators,
            "combinations of tags would become classes",
            "separate tags by ';', or name what separates them with --separator",
        ),
        Suspicion(
            "no-absence",
            "stop",
            _no_absence,
            "every image has every tag, so no image teaches what the absence of a tag looks like",
            "add images that lack it, as rows without tags",
            of_training=True,
        ),
        Suspicion(
            "on-every-image",
            "warning",
            _on_every_image,
            "a tag is on every image, so no image teaches its absence and its masks will be poor",
            "leave the tag out, or add images that lack it",
            of_training=True,
        ),
        Suspicion(
            "spellings",
            "warning",
            _spellings,
            "tags differ only by case, space or plural, and are classes of their own",
            "write them alike",
        ),
        Suspicion(
            "always-together",
            "warning",
            _parents,
            "a tag is on each image of another tag, so the two cannot be told apart there",
            "keep one of the two, or add images where the second is absent",
            of_training=True,
        ),
        Suspicion(
            "few-images",
            "warning",
            _few_images,
            f"classes have fewer than {FEW} images",
            "add images of them, or expect poor masks",
            of_training=True,
        ),
        Suspicion(
            "duplicates",
            "warning",
            _duplicates,
            "images are the same, byte for byte",
            "keep one of each",
        ),
    )
}


def find(data: Overview, training: bool = True) -> list[Found]:
    """All suspicions that have cases; those that stop a run come first.

    `training` says whether a classifier is to be trained on these images.
    """
    kinds = (kind for kind in SUSPICIONS.values() if training or not kind.of_training)
    cases = ((kind, list(kind.find(data))) for kind in kinds)
    return [Found(kind, found) for kind, found in cases if found]


def check(found: Sequence[Found], accepted: Collection[str]) -> None:
    """Raise UserError for the first suspicion that stops a run and is not accepted, and for an unknown name."""
    unknown = [name for name in accepted if name not in SUSPICIONS]
    if unknown:
        raise UserError(f"No suspicion {unknown[0]!r} to accept: there are {', '.join(SUSPICIONS)}.")
    stops = [one for one in found if one.kind.severity == "stop" and one.kind.name not in accepted]
    if stops:
        others = f" ({count(len(stops) - 1, 'more reason')} to stop: see `irnet-ray inspect`)" if stops[1:] else ""
        raise UserError(
            f"Stopped before computing, because {stops[0].sentence()}, or go on with --accept {stops[0].kind.name}"
            f"{others}."
        )
