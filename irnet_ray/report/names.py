"""Names that people read, in place of ids that stand in the tables: `bull mastiff` for `n02108422`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")

# Not as a part of a path: there it is the name of a folder.
_ID = re.compile(r"(?<![\w/.-])n\d{8}(?![\w/.-])")


def named(content: T, names: Mapping[str, str]) -> T:
    """A copy of what is printed, text or JSON with text in it, with names in place of WordNet ids.

    Ids without a name stay, and so do those that are parts of a path.
    """
    return _named(content, names) if names else content


def _named(content: Any, names: Mapping[str, str]) -> Any:
    if isinstance(content, str):
        return _ID.sub(lambda found: names.get(found[0], found[0]), content)
    if isinstance(content, Mapping):
        return {_named(name, names): _named(value, names) for name, value in content.items()}
    return [_named(one, names) for one in content] if isinstance(content, list | tuple) else content
