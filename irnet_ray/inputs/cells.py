"""Several tags in one cell: lists as text, and tags between separators.

    ["dog", "cat"]    ['dog', 'cat']    [dog, cat]      lists, as JSON, Python and people write them
    array(['dog'], dtype=object)    "dog", "cat"        lists too, as numpy and doubled quotes leave them
    dog;cat                                             ';' always separates
    dog|cat    dog,cat    dog/cat    dog cat            separate where their parts are tags by themselves elsewhere

What is ambiguous is refused, with the choice between `--separator` and `--separator none`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from irnet_ray.errors import UserError, printable
from irnet_ray.text import count, cut, names

NONE = "none"  # as a separator: each cell is one tag
WORDS = {"tab": "\t", "\\t": "\t", "\\n": "\n", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
DEFAULT = ";"
# Separators that no name of a class holds without a reason: a cell with one of them is never silently one tag.
_USUAL = ("|", ",", "\n", "\t", "、", "，", "；")
_WEAK = (" and ", ":", "\\", "-", "_", ".")  # names hold them often: all parts must be tags by themselves
RARE = ("/", "+", "&", *_WEAK, " ")
_SURE = 0.9  # of the cells with a rare separator must hold only tags that occur elsewhere, to be thought of as several
# What spreadsheets, pandas, R and databases write into a cell without a value.
MISSING = frozenset({"nan", "none", "null", "nil", "na", "n/a", "#n/a", "<na>", "nat", "\\n"})
_SHOWN = {"\n": "a line break", "\t": "a tab", " ": "a space"}

_LIST = re.compile(r"\s*[\[({](.*)[\])}]\s*", re.DOTALL)
_QUOTED = re.compile(
    r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|(?:None|null|nan|NaN)\b)\s*(?:,|(?=["'])|$)""", re.DOTALL
)
_CALL = re.compile(r"\s*(?:np\.|numpy\.)?(?:array|set|frozenset)\((.*?)(?:,\s*dtype=[^()]*)?\)\s*", re.DOTALL)
_STR = re.compile(r"""\bnp\.str_\(('[^']*'|"[^"]*")\)""")  # numpy 2 writes ['dog'] as [np.str_('dog')]


def split_cells(
    path: str, cells: Sequence[str | list[str]], separator: str | None = None
) -> tuple[list[list[str]], list[str]]:
    """Tags of each cell, not cleaned, and notes on how they were separated.

    Args:
        path: where the cells are, for sentences.
        cells: text, or lists, which are taken as they are.
        separator: what separates tags; `none` if each cell is one tag; None to find it out.

    Raises:
        UserError: it cannot be told whether a cell holds one tag or several.
    """
    texts = Counter(cell for cell in cells if isinstance(cell, str))
    if separator is not None:
        mark = WORDS.get(separator, separator)
        split = {text: [text] if separator == NONE else text.split(mark) for text in texts}
        return [split[cell] if isinstance(cell, str) else cell for cell in cells], []
    missing = [text for text in texts if text.strip().casefold() in MISSING]
    lists: dict[str, list[str]] = {text: [] for text in missing}
    notes: list[str] = []
    if missing:
        notes.append(
            f"{count(sum(texts[text] for text in missing), 'cell')} with {names(missing)}: taken as an image without "
            f"tags; --separator {NONE} makes it a tag"
        )
    lists |= {text: parts for text in texts if (parts := _listed(text)) is not None}
    plain = {text: number for text, number in texts.items() if text not in lists}
    if len(lists) > len(missing):
        written = sum(number for text, number in texts.items() if text in lists and text not in missing)
        notes.append(f"{count(written, 'cell')} with a list as text")
    mark = _separator(path, plain, notes)
    split = {**lists, **{text: text.split(mark) for text in plain}}
    return [split[cell] if isinstance(cell, str) else cell for cell in cells], notes


def _listed(text: str) -> list[str] | None:
    """The parts of a list as text; None for other text."""
    called = _CALL.fullmatch(text)
    if called is not None:
        return [] if not called[1].strip() else _listed(called[1])
    text = _STR.sub(r"\1", text)
    if text.lstrip().startswith(('"', "'")):
        return _quoted(text)
    found = _LIST.fullmatch(text)
    if found is None:
        return None
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, list) and all(one is None or isinstance(one, str | int | float) for one in content):
        return [str(one) for one in content if one is not None and one == one]
    inside = found[1].strip()
    if text.lstrip().startswith("(") and inside[:1] not in ("'", '"', ""):
        return None  # a name such as "(none)"
    parts = _quoted(inside)
    if parts is not None:
        return parts
    bare = [part.strip() for part in inside.split(",")]
    return None if "[" in inside or '"' in inside or any(part[:1] == "'" for part in bare) else bare


def _quoted(text: str) -> list[str] | None:
    """Parts in quotes, without None and its like; None for other text."""
    parts, at = [], 0
    while at < len(text) and (token := _QUOTED.match(text, at)) and token.end() > at:
        part = token[1] if token[1] is not None else token[2]
        if part is not None:
            parts.append(re.sub(r"\\(.)", r"\1", part))
        at = token.end()
    return parts if at >= len(text) else None


def _separator(path: str, cells: Mapping[str, int], notes: list[str]) -> str:
    """What separates tags in these cells, each with how many images have it."""
    if any(DEFAULT in cell for cell in cells):
        return DEFAULT
    known = {cell.strip() for cell in cells}
    for mark in (*_USUAL, *RARE):
        combined = {cell: _parts(cell, mark) for cell in cells if mark in cell.strip()}
        combined = {cell: parts for cell, parts in combined.items() if len(parts) > 1 or mark in _USUAL}
        if not combined:
            continue
        images = sum(cells[cell] for cell in combined)
        share, usual = _supported(combined, known, mark), mark in _USUAL
        example = max(combined, key=lambda cell: (cells[cell], cell))
        if usual and share >= 0.5:
            notes.append(f'tags are separated by {_name(mark)}: "{cut(example.strip(), 40)}" is several tags')
            return mark
        if usual or share >= _SURE:
            raise UserError(
                f'{path} has {count(images, "image")} with tags such as "{cut(printable(example.strip()), 60)}", and '
                f"it is ambiguous whether this is one tag or {names(_parts(example, mark))}: say so with --separator "
                f"{_option(mark)} for several, or --separator {NONE} for one."
            )
    return DEFAULT


def several(tags: Collection[str]) -> list[str]:
    """Tags that are several tags of the same data with a rare separator between them: `dog/cat` beside dog and cat."""
    found: list[str] = []
    for mark in RARE:
        combined = {tag: parts for tag in tags if mark in tag and len(parts := _parts(tag, mark)) > 1}
        joined = [tag for tag, parts in combined.items() if all(part in tags for part in parts)]
        found += joined if joined and len(joined) >= _SURE * len(combined) else []
    return list(dict.fromkeys(found))


def _parts(cell: str, mark: str) -> list[str]:
    return list(dict.fromkeys(part for part in (part.strip() for part in cell.split(mark)) if part))


def _supported(combined: Mapping[str, list[str]], known: set[str], mark: str) -> float:
    """The share of combinations whose parts are tags elsewhere: alone, or in another combination."""
    combinations = {frozenset(parts) for parts in combined.values()}
    held = Counter(part for parts in combinations for part in parts)

    def is_supported(parts: frozenset[str]) -> bool:
        alone = sum(part in known for part in parts)
        if mark in _WEAK:
            return alone == len(parts)
        if len(parts) < 2 or (mark in _USUAL and 2 * alone >= len(parts)):
            return True
        return all(part in known or held[part] > 1 for part in parts)

    return sum(map(is_supported, combinations)) / len(combinations)


def _name(mark: str) -> str:
    return _SHOWN.get(mark, f"'{mark}'")


def _option(mark: str) -> str:
    """How the separator is written in a shell."""
    return {"\n": "'\\n'", "\t": "tab", " ": "space"}.get(mark, f"'{mark}'")
