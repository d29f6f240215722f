"""Finds the files that a table names, also where names differ by what programs and systems change in them.

Extensions get lost or change with a conversion, letter case on Windows, the Unicode form on a Mac, and folders when
data moves to another machine. A name is matched to such a file where exactly one fits.
"""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from irnet_ray.errors import printable
from irnet_ray.inputs.sniff import is_image_name
from irnet_ray.text import count, cut, names

_MOST = 50_000  # files among which the nearest name is looked for


@dataclass(frozen=True)
class Matches:
    """The file of each name, in the order of the names."""

    paths: list[str | None]  # None where no file fits, or several do
    notes: list[str]  # which names differ from those of their files


def match(
    listed: Sequence[str], files: Iterable[str], folders: Sequence[str] = ("", "images"), base: str = ""
) -> Matches:
    """The file of each listed name.

    Args:
        listed: distinct names, as they stand in the table.
        files: paths of image files, with '/' between their parts.
        folders: where a name may begin, below `base`; the first that fits is taken.
        base: the folder of the table, on the same terms as `files`; "" for the top.
    """
    known = files if isinstance(files, Collection) and isinstance(files, set) else set(files)
    found = [_exact(name, known, folders, base) for name in listed]
    if None not in found:
        return Matches(list(found), [])
    # Where a name with folders is right, all folders are right: a/1.jpg is not the missing b/1.jpg.
    keeps_folders = any(path is not None and "/" in name for name, path in zip(listed, found, strict=True))
    inside = f"{base}/" if base else ""
    loose = _Loose([path for path in known.difference(found) if path.startswith(inside)], keeps_folders)
    differ: Counter[str] = Counter()
    examples: dict[str, tuple[str, str]] = {}
    for number, name in enumerate(listed):
        path = loose.find(name) if found[number] is None else None
        if path is not None:
            found[number] = path
            kind = _difference(name, path)
            differ[kind] += 1
            examples.setdefault(kind, (name, path))
    return Matches(found, _notes(differ, examples))


def _exact(name: str, files: Collection[str], folders: Sequence[str], base: str) -> str | None:
    plain = "/".join(part for part in name.split("/") if part not in ("", "."))
    if name.startswith("/"):
        return None
    places = ("/".join(part for part in (base, folder, plain) if part) for folder in folders)
    return next((path for path in places if path in files), None)


class _Loose:
    """Files by keys that are the more forgiving the later they come."""

    def __init__(self, files: Sequence[str], keeps_folders: bool) -> None:
        self._files = files
        self._keeps_folders = keeps_folders

    @cached_property
    def _indices(self) -> list[dict[str, list[str]]]:
        indices: list[dict[str, list[str]]] = []
        for key in (_composed, _folded, _stem):
            index: dict[str, list[str]] = defaultdict(list)
            for path in self._files:
                index[key(path.rpartition("/")[2])].append(path)
            indices.append(index)
        return indices

    def find(self, name: str) -> str | None:
        """The one file that fits; None if none does, or several do."""
        *folders, base = _parts(name)
        if not base or ".." in folders or "\0" in name:
            return None
        composed, folded, stems = self._indices
        tries: list[tuple[dict[str, list[str]], str]] = [
            (composed, _composed(base)),
            (folded, _folded(base)),
            (stems, _folded(base)),  # the extension is missing in the table
        ]
        if is_image_name(base):
            tries.append((stems, _stem(base)))
        for index, key in tries:
            fitting = self._fitting(index.get(key, []), [_folded(part) for part in folders])
            if fitting:
                return fitting[0] if len(fitting) == 1 else None
        return None

    def _fitting(self, paths: Sequence[str], folders: Sequence[str]) -> list[str]:
        """Those of the files that share most of the last folders with a listed name."""
        shared: dict[str, int] = {}
        for path in paths:
            own = [_folded(part) for part in path.split("/")[:-1]]
            same = len(os.path.commonprefix([own[::-1], list(folders)[::-1]]))
            if same == len(folders) or not self._keeps_folders:
                shared[path] = same
        most = max(shared.values(), default=0)
        return [path for path, same in shared.items() if same == most]


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")] or [""]


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _stem(name: str) -> str:
    """The name without its extension. Of a file without one, it is the whole name."""
    return _folded(os.path.splitext(name)[0])


def _difference(name: str, path: str) -> str:
    """How a name differs from that of its file, in a few words."""
    parts, (*folders, base) = _parts(name), path.split("/")
    kinds = []
    if "\\" in name:
        kinds.append("\\ for /")
    if parts[-1] != base:
        if _composed(parts[-1]) == _composed(base):
            kinds.append("Unicode form")
        elif _folded(parts[-1]) == _folded(base):
            kinds.append("letter case")
        else:
            kinds.append("extension")
    if name.startswith("/") or parts[:-1] != folders[len(folders) - len(parts) + 1 :]:
        kinds.append("folder")
    elif not kinds:
        kinds.append("a folder above it")
    return " and ".join(kinds)


def _notes(differ: Counter[str], examples: dict[str, tuple[str, str]]) -> list[str]:
    if not differ:
        return []
    shown = [
        f"{number:,} by {kind} ({cut(printable(examples[kind][0]), 60)} is {cut(printable(examples[kind][1]), 60)})"
        for kind, number in differ.most_common()
    ]
    verb = "differs" if differ.total() == 1 else "differ"
    return [
        f"{count(differ.total(), 'listed name')} {verb} from the file's, and exactly one file fits each: "
        f"{'; '.join(shown)}"
    ]


def nearest(name: str, files: Collection[str]) -> str:
    """The files whose names are nearest to a missing one, as the end of a sentence; "" if none is near."""
    base = _folded(_parts(name)[-1])
    same = sorted(path for path in files if base in (_folded(path.rpartition("/")[2]), _stem(path.rpartition("/")[2])))
    if len(same) > 1:
        return f"; several files fit {printable(name)}: {names([printable(path) for path in same])}"
    by_name: dict[str, str] = {}
    for path in sorted(files)[:_MOST]:
        by_name.setdefault(_folded(path.rpartition("/")[2]), path)
    close = difflib.get_close_matches(base, by_name, n=1, cutoff=0.6)
    return f"; the nearest name to {printable(name)} is {printable(by_name[close[0]])}" if close else ""


def missing_sentence(missing: Sequence[str], name_of: Callable[[str], str], files: Collection[str]) -> str:
    """The missing names, each as `name_of` shows it, and what is nearest to the first."""
    return f"({names([name_of(name) for name in missing])}{nearest(missing[0], files)})"
