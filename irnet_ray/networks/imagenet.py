"""The 1,000 classes of ImageNet's classification task (ILSVRC), by WordNet id, name or synonym."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_ID = re.compile(r"n\d{8}")
_WITH_ID = re.compile(r".*\((n\d{8})\)", re.DOTALL)


def class_indices(tags: Iterable[str]) -> dict[str, int | None]:
    """Index in [0, 1000) of the class that each tag names; None for a tag that names no class, or several.

    A tag is a WordNet id (`n02012849`), a name with its id (`crane (n02012849)`), all synonyms of a class
    (`tench, Tinca tinca`), or one of them. An exact match wins over one that ignores case and takes `_` for a space,
    and a class's first name wins over another class's synonym. ImageNet has two cranes: they need their ids.

    Raises:
        ModuleNotFoundError: timm, which ships the names, is not installed.
    """
    try:
        from timm.data.imagenet_info import ImageNetInfo
    except ImportError as error:
        raise ModuleNotFoundError(
            "The names of ImageNet's classes need the extra `lite`: pip install 'irnet-ray[lite]'."
        ) from error
    info = ImageNetInfo("imagenet-1k")
    ids = {name: {number} for number, name in enumerate(info.label_names())}
    synonyms = list(info.label_descriptions())
    exact, folded = _by_name(synonyms), _by_name([_fold(words) for words in synonyms])
    found: dict[str, int | None] = {}
    for tag in tags:
        with_id = _WITH_ID.fullmatch(tag.strip())
        classes = ids.get(with_id[1] if with_id else tag.strip())
        for name, known in (*((tag.strip(), part) for part in exact), *((_fold(tag), part) for part in folded)):
            classes = classes or known.get(name)
        found[tag] = min(classes) if classes is not None and len(classes) == 1 else None
    return found


def names_of(tags: Iterable[str]) -> dict[str, str]:
    """Names of those tags that are WordNet ids of ImageNet's classes: the first synonym, or all if classes share it.

    Empty where timm, which ships the names, is not installed.
    """
    wanted = {tag for tag in tags if _ID.fullmatch(tag)}
    if not wanted:
        return {}
    try:
        from timm.data.imagenet_info import ImageNetInfo
    except ImportError:
        return {}
    info = ImageNetInfo("imagenet-21k")  # it holds the 1,000 classes too
    synonyms = dict(zip(info.label_names(), info.label_descriptions(), strict=True))
    synonyms.update(zip((small := ImageNetInfo("imagenet-1k")).label_names(), small.label_descriptions(), strict=True))
    known = {tag: synonyms[tag] for tag in sorted(wanted) if tag in synonyms}
    firsts = Counter(words.partition(",")[0] for words in known.values())
    return {
        tag: first if firsts[first := words.partition(",")[0]] == 1 else f"{first} ({tag})"
        for tag, words in known.items()
    }


def _fold(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _by_name(synonyms: list[str]) -> tuple[dict[str, set[int]], ...]:
    """Classes by all their synonyms in one string, by the first synonym, and by each of the others."""
    parts: tuple[dict[str, set[int]], ...] = ({}, {}, {})
    for number, words in enumerate(synonyms):
        first, *others = words.split(", ")
        for part, names in zip(parts, ([words], [first], others), strict=True):
            for name in names:
                part.setdefault(name, set()).add(number)
    return parts
