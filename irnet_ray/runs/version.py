"""One version of a run directory: what `current.json`, and each record in `versions/`, say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# 0.5.4 is the last release that wrote no revisions; every stage counts as revision 1 there (see `stages.graph`).
ORIGIN = "0.5.4"

_IDENTITY = ("version", "code", "revisions", "stages", "config")  # what a version records of its base


@dataclass(frozen=True)
class Source:
    """Where the images of a version came from."""

    folder: str  # absolute path or URI
    limit: int | None  # at most this many of its images


@dataclass(frozen=True)
class Predictor:
    """What made a version of predictions."""

    kind: str  # of the student
    labels: str  # the version of labels that it learnt from
    model: str  # its folder


@dataclass(frozen=True)
class Version:
    """The content of `current.json`, with a name for each entry.

    The content stays as it was read, so that entries of a later release survive a rollback by this one.
    """

    content: dict[str, Any]

    @staticmethod
    def of(**entries: Any) -> Version:
        """A version with these entries of `current.json`; those that are None are left out."""
        return Version({name: value for name, value in entries.items() if value is not None})

    def with_entries(self, **entries: Any) -> Version:
        """The same version with more entries, or other values for some."""
        return Version({**self.content, **entries})

    @staticmethod
    def is_one(found: Any) -> bool:
        """Whether `found` may be what `publish` wrote: it has all that readers need, and names no folder elsewhere."""
        kinds = {"version": str, "stages": dict, "shards": int, "vocabulary": list, "config": dict}
        if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
            return False
        stages, names = found["stages"], [*found["stages"].values(), *found["vocabulary"]]
        plain = all(isinstance(name, str) for name in names) and not any("/" in name for name in stages.values())
        parts = {"data": ("folder", "limit"), "student": ("kind", "labels", "model"), "base": ("version", "stages")}
        known = [(found[name], entries) for name, entries in parts.items() if found.get(name) is not None]
        whole = all(isinstance(part, dict) and part.keys() >= set(entries) for part, entries in known)
        return plain and whole and {"images", "labels"} <= stages.keys() and found["shards"] >= 1

    @property
    def id(self) -> str:
        """Fingerprint of its labels."""
        return str(self.content["version"])

    @property
    def stages(self) -> dict[str, str]:
        """Folder name of each stage, below `stages/`."""
        return dict(self.content["stages"])

    @property
    def shard_count(self) -> int:
        """Parquet files per table."""
        return int(self.content["shards"])

    @property
    def vocabulary(self) -> list[str]:
        """Names of the classes; a class id is an index into it."""
        return list(self.content["vocabulary"])

    @property
    def config(self) -> dict[str, Any]:
        """The config as it was recorded; `config.load.recorded_config` checks it."""
        return dict(self.content["config"])

    @property
    def code(self) -> str:
        """Version of irnet-ray that made it."""
        return str(self.content.get("code", "unknown"))

    @property
    def images(self) -> int | None:
        """Images, labeled or not; None where it is not recorded."""
        return self.content.get("images")

    @property
    def labels(self) -> int | None:
        """Labeled images; None before the version is published."""
        return self.content.get("labels")

    @property
    def errors(self) -> int | None:
        """Failed images; None before the version is published."""
        return self.content.get("errors")

    @property
    def data(self) -> Source | None:
        """Where the images came from; None where it is not recorded."""
        found = self.content.get("data")
        return Source(found["folder"], found["limit"]) if found is not None else None

    @property
    def made_by(self) -> str | None:
        """The `fingerprint` column of its labels; None where it is not recorded."""
        return self.content.get("made_by")

    @property
    def base(self) -> Version:
        """The version that trained the networks it uses: itself, or an earlier one with what identifies it alone."""
        known = self.content.get("base")
        if known is None:
            return self
        # Releases that recorded no config of a base never changed it, nor did the oldest record its code.
        shared: dict[str, Any] = {name: self.content[name] for name in ("code", "config") if name in self.content}
        return Version({**shared, **known, "vocabulary": self.content["vocabulary"]})

    def identity(self) -> dict[str, Any]:
        """What another version records of this one as its `base`."""
        return {name: self.content[name] for name in _IDENTITY if name in self.content}

    @property
    def student(self) -> Predictor | None:
        """What made these predictions; None for labels."""
        found = self.content.get("student")
        return Predictor(found["kind"], found["labels"], found["model"]) if found is not None else None

    def revision(self, stage: str) -> int:
        """Revision of the stage that made its rows; 0 for a release before `ORIGIN`, which agrees with no later one."""
        known = self.content.get("revisions")
        if known is None:
            return 1 if self.content.get("code") == ORIGIN else 0
        return int(known.get(stage, 0))
