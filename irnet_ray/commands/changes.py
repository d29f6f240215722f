"""How the images of a folder have changed since its images table was last written."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Changes:
    """Sorted ids of the images of two tables; each id is in exactly one list."""

    same: tuple[str, ...]
    moved: tuple[str, ...]  # the same bytes and tags at another place
    retagged: tuple[str, ...]  # the same bytes, but other tags or another order of tags, in which labels number them
    changed: tuple[str, ...]  # other bytes, whatever the tags
    new: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def standing(self) -> frozenset[str]:
        """Images whose labels are still valid."""
        return frozenset(self.same + self.moved)

    @property
    def unseen(self) -> int:
        """How many of today's images are new, changed or retagged."""
        return len(self.retagged) + len(self.changed) + len(self.new)

    def counts(self) -> dict[str, int]:
        """How many images each list holds."""
        return {name: len(ids) for name, ids in vars(self).items()}


def compare(before: pa.Table, after: pa.Table) -> Changes:
    """Compare two tables of `tables.IMAGES` by image_id, content and tags. Times of files do not matter."""
    known, today = _by_id(before), _by_id(after)
    lists: dict[str, list[str]] = {name: [] for name in ("same", "moved", "retagged", "changed", "new")}
    for image_id, (content, tags, uri) in sorted(today.items()):
        if image_id not in known:
            kind = "new"
        else:
            old_content, old_tags, old_uri = known[image_id]
            if content != old_content:
                kind = "changed"
            elif tags != old_tags:
                kind = "retagged"
            else:
                kind = "same" if uri == old_uri else "moved"
        lists[kind].append(image_id)
    removed = tuple(sorted(known.keys() - today.keys()))
    return Changes(removed=removed, **{kind: tuple(ids) for kind, ids in lists.items()})


def _by_id(table: pa.Table) -> dict[str, tuple[str | None, list[str], str]]:
    columns = (table[name].to_pylist() for name in ("image_id", "content", "tags", "uri"))
    return {image_id: (content, tags, uri) for image_id, content, tags, uri in zip(*columns, strict=True)}
