"""Which columns of a table name the image, its id and its tags, by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from irnet_ray.errors import UserError
from irnet_ray.inputs.cells import MISSING
from irnet_ray.inputs.sniff import is_image_name
from irnet_ray.text import names

# Names in lower case without ' ', '_', '-' and '.'; the first that a table has is taken.
_IMAGES = """
uri filename filepath path imagepath imgpath imagefile imagefilename imagename imgname fname image img images photo
picture file filenames photoname photopath imageuri
"""
IDS = ["imageid", "imgid", "photoid", "pictureid", "id"]
URLS = ["url", "imageurl", "cocourl", "link"]
_TAGS = """
tags tagnames tag labels labelnames labelname label classnames classname classes class categorynames categoryname
categories category objects keywords target species breed text caption
"""
_CONFIDENCE = "confidence"
# Columns of 0 and 1 that are no tags.
_NO_TAGS = """
split fold set train test val valid validation istrain istest isval isvalid width height size index usage
isoccluded istruncated isgroupof isdepiction isinside iscrowd difficult
"""
CAPTIONS = frozenset({"text", "caption"})
IMAGES, TAGS, _OTHERS = _IMAGES.split(), _TAGS.split(), frozenset(_NO_TAGS.split())
_IMAGE_WORDS = frozenset({"image", "img", "file", "filename", "photo", "picture", "path"})
_TAG_WORDS = frozenset({"tag", "tags", "label", "labels", "class", "classes", "category", "categories"})
_SIZES = frozenset({"count", "size", "width", "height", "area"})
_NUMBERS = _SIZES | {"id", "ids", "index", "number", "num"}
_YES = frozenset({"1", "true", "yes", "y", "x", "✓", "✔", "t"})
_NO = frozenset({"0", "false", "no", "n", "f"})
_UNSURE = frozenset({"-1"})
_NUMBER = re.compile(r"(-?1|0)[.,]0+(e[+-]?00)?")  # 1.0, the 1,0 of spreadsheets, numpy's 1.000e+00; no 00 or 1e9
_PLAIN_STATES = frozenset({"1", "0", "-1", "true", "false", "yes", "no"})  # letters may mean something else
_MOST_STRAYS = 4  # of so many values, at most one is taken for a mistake in a column of 0 and 1


@dataclass(frozen=True)
class Columns:
    """What the columns of a table mean. At most one of `tags` and `one_hot` is set."""

    image: str | None  # names the image; None if only a column of bytes does
    image_id: str | None = None  # another column with the id
    tags: str | None = None
    one_hot: list[str] = field(default_factory=list)  # each of these columns is a tag
    confidence: str | None = None
    ignored: list[str] = field(default_factory=list)


def plain(name: str) -> str:
    """The name of a column as it stands in the lists above."""
    return re.sub(r"[\s_.-]+", "", name).casefold()


def find(
    path: str,
    columns: list[str],
    values: Callable[[str], list[Any]],
    classes: dict[str, list[str]],
    has_bytes: bool = False,
    strict: bool = False,
    may_lack_tags: bool = False,
) -> Columns:
    """What the columns of a table mean.

    Args:
        path: of the table, for sentences.
        columns: their names.
        values: the values of a column.
        classes: names of classes, of columns that hold numbers of them.
        has_bytes: whether the table holds the bytes of images, so that no column need name them.
        strict: whether a column with an unknown name is never taken for tags.
        may_lack_tags: whether a table of images alone is one of images without tags, as JSON without the member is.

    Raises:
        UserError: no column names images or tags, or several could.
    """
    first = next((name for name in columns if is_image_name(name)), None)
    if first is not None:
        raise UserError(
            f"{path} has no header, because its first line names an image ({first}): begin it with image,tags."
        )
    by_plain: dict[str, list[str]] = {}
    for name in columns:
        by_plain.setdefault(plain(name), []).append(name)
    image, image_id = _image_columns(path, columns, by_plain, has_bytes, values)
    rest = [name for name in columns if name not in (image, image_id)]
    tags = _tags_column(path, rest, by_plain, values, classes)
    confidence = next(iter(by_plain.get(_CONFIDENCE, [])), None)
    binary = [n for n in rest if n not in classes and n != confidence and _is_binary(n, values, n == tags)]
    if tags is not None and tags in binary:
        if len(binary) == 1 and len(set(map(_text, values(tags)))) > 1:
            raise UserError(
                f"{path} holds only 0 and 1 in the column {tags}, which does not say what they mean: name the column "
                "by the tag that 1 stands for, or write the tags into it."
            )
        tags = None if len(binary) > 1 else tags
    if tags is None and not binary and not strict:
        tags = _only_other(rest, values)
    if tags is not None:
        return Columns(image, image_id, tags, [], confidence, [n for n in rest if n not in (tags, confidence)])
    if may_lack_tags and not rest:
        return Columns(image, image_id)
    if binary and not (strict and len(rest) > 2 * len(binary)):
        return Columns(image, image_id, None, binary, None, [name for name in rest if name not in binary])
    raise UserError(
        f"{path} must have one column tags (or labels, class, ..., or a column of 0 and 1 for each tag), and has "
        f"{', '.join(columns) or 'none'}: name its columns image,tags."
    )


def fits(columns: list[str]) -> bool:
    """Whether the names of columns alone say that a table lists images with tags."""
    known = {plain(name) for name in columns}
    return bool(known.intersection([*IMAGES, *IDS]) and known.intersection(TAGS))


def _image_columns(
    path: str,
    columns: list[str],
    by_plain: dict[str, list[str]],
    has_bytes: bool,
    values: Callable[[str], list[Any]],
) -> tuple[str | None, str | None]:
    image = _first(path, IMAGES, by_plain)
    image_id = _first(path, IDS, by_plain)
    if image is None and not has_bytes:
        image, image_id = image_id, None
        image = (
            image
            or _first(path, URLS, by_plain)
            or _by_word(columns, _IMAGE_WORDS, _SIZES)
            or _of_names(columns, values)
        )
    if image is None and not has_bytes:
        raise UserError(
            f"{path} must have one column image (or file_name, path, image_id, ...), and has "
            f"{', '.join(columns) or 'none'}: name its columns image,tags."
        )
    return image, image_id


def _first(path: str, wanted: list[str], by_plain: dict[str, list[str]]) -> str | None:
    found = next((by_plain[name] for name in wanted if name in by_plain), [])
    if len(found) > 1:
        raise UserError(f"{path} must have one column {found[0]}, and has {names(found)}: rename its columns.")
    return found[0] if found else None


def _tags_column(
    path: str,
    rest: list[str],
    by_plain: dict[str, list[str]],
    values: Callable[[str], list[Any]],
    classes: dict[str, list[str]],
) -> str | None:
    """The column of tags by its name. Of several, one that holds names wins over one that holds numbers."""
    named = [name for name in TAGS if name in by_plain and by_plain[name][0] in rest]
    if named:
        candidates = [_first(path, [name], by_plain) or "" for name in named]
        if len(candidates) == 1:
            return candidates[0]
        words = (name for name in candidates if name in classes or not _is_numeric(values(name)))
        return next(words, candidates[0])
    if (word := _by_word(rest, _TAG_WORDS, _NUMBERS)) is not None:
        return word
    typed = [name for name in classes if name in rest]
    if len(typed) > 1:
        raise UserError(f"{path} has several columns of classes ({names(typed)}): rename the one to use to tags.")
    return typed[0] if typed else None


def _words(name: str) -> list[str]:
    """The words in the name of a column: `Finding Labels`, `image_path`, `imageIndex`."""
    return re.findall(r"[a-z]+|\d+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())


def _by_word(columns: list[str], words: frozenset[str], but: frozenset[str]) -> str | None:
    """The only column with one of some words in its name, and none of others at its end."""
    found = [name for name in columns if not words.isdisjoint(_words(name)) and not _ends_in(name, but)]
    return found[0] if len(found) == 1 else None


def _ends_in(name: str, words: frozenset[str]) -> bool:
    """Whether a name of several words ends in one of these, as `region_id` and `file_size` end in numbers and sizes."""
    _, *others = _words(name) or [""]
    return bool(others) and others[-1] in words


def _of_names(columns: list[str], values: Callable[[str], list[Any]]) -> str | None:
    """The only column where all values are names of image files."""
    found = [
        name
        for name in columns
        if (all_values := values(name)) and all(isinstance(v, str) and is_image_name(v) for v in all_values)
    ]
    return found[0] if len(found) == 1 else None


def _only_other(rest: list[str], values: Callable[[str], list[Any]]) -> str | None:
    """The one column beside that of images, whatever its name is, if it holds text that is not numbers."""
    if len(rest) != 1 or plain(rest[0]) in _OTHERS:
        return None
    found = values(rest[0])
    return rest[0] if not _is_numeric(found) and all(isinstance(v, str | list) or v is None for v in found) else None


def _text(value: Any) -> str:
    return "" if value is None else _state_text(str(value))


@lru_cache(maxsize=10_000)
def _state_text(value: str) -> str:
    """The text of a cell: 1, 1.0 and the 1,0 of a spreadsheet alike, and "" for NaN and its like."""
    text = value.strip().casefold()
    if (number := _NUMBER.fullmatch(text)) is not None:
        return number[1]
    return "" if text in MISSING else text


def state(value: Any) -> bool | None | str:
    """What a cell of a one-hot column says: True, False, "unsure" for -1, or None for an empty one.

    Raises ValueError for any other value.
    """
    text = _text(value)
    if text in _YES or text in _NO:
        return text in _YES
    if text in _UNSURE:
        return "unsure"
    if not text:
        return None
    raise ValueError(text)


def _is_binary(name: str, values: Callable[[str], list[Any]], named_tags: bool) -> bool:
    """Whether a column says of each image whether it has a tag.

    With `named_tags`, its name says that it holds tags. Then letters may be tags: x, y, n, t, f.
    """
    if plain(name) in _OTHERS or _ends_in(name, _NUMBERS):
        return False
    found = set()
    for value in values(name):
        if isinstance(value, list | dict):
            return False
        text = _text(value)
        if text not in found:
            if (text and text not in _YES | _NO | _UNSURE) or (named_tags and text.isalpha() and len(text) == 1):
                return False
            found.add(text)
    return bool(found - {""})


def stray(name: str, values: list[Any]) -> int | None:
    """The row of a value that spoils a column of 0 and 1, as a typing mistake does; None where there is none."""
    if plain(name) in _OTHERS or _ends_in(name, _NUMBERS):
        return None
    texts = [_text(value) for value in values]
    strays = [row for row, text in enumerate(texts) if text and text not in _PLAIN_STATES]
    given = sum(text != "" for text in texts)
    return strays[0] if strays and _MOST_STRAYS * len(strays) <= given else None


def _is_numeric(values: list[Any]) -> bool:
    """Whether all values are numbers, and there are some."""
    some = False
    for value in values:
        if value is None or value == "":
            continue
        if isinstance(value, list | dict):
            return False
        try:
            float(value)
        except ValueError:
            return False
        some = True
    return some
