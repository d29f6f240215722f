"""One version of a run directory: the content of `current.json`, and of each record in `versions/`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from irnet_ray.classes import Classes

# The last release that wrote no revisions. All its stages count as revision 1 (see `stages.graph`).
ORIGIN = "0.5.4"

_IDENTITY = ("version", "code", "revisions", "stages", "config")  # what a version records of its base


@dataclass(frozen=True)
class Source:
    """Where the images of a version came from."""

    folder: str  # absolute path or URI
    limit: int | None  # only its first images, at most this many
    images: str | None = None  # the folder of the images, if it is named apart
    separator: str | None = None  # of tags in a cell, if it was given
    classes: Classes = Classes()  # what the tags must be, and other spellings of them
    accepted: tuple[str, ...] = ()  # suspicions about the images that the user accepted

    def to_json(self) -> dict[str, Any]:
        """The entry `data` of a version."""
        given: dict[str, Any] = {"images": self.images, "separator": self.separator}
        known = {name: value for name, value in given.items() if value is not None}
        if self.accepted:
            known["accepted"] = list(self.accepted)
        return {"folder": self.folder, "limit": self.limit, **known, **self.classes.to_json()}


@dataclass(frozen=True)
class Predictor:
    """The student that made a version of predictions."""

    kind: str  # name of its row in `student_kinds.KINDS`
    labels: str  # id of the version of labels that it was trained on
    model: str  # its folder


@dataclass(frozen=True)
class Version:
    """The content of `current.json`, with a property for each entry.

    The content stays as it was read, so that entries of a later release survive a rollback by this release.
    """

    content: dict[str, Any]

    @staticmethod
    def of(**entries: Any) -> Version:
        """A version with these entries of `current.json`, without those that are None."""
        return Version({name: value for name, value in entries.items() if value is not None})

    def with_entries(self, **entries: Any) -> Version:
        """A copy with some entries added or replaced."""
        return Version({**self.content, **entries})

    @staticmethod
    def is_one(found: Any) -> bool:
        """Whether `found` has every entry that readers need, of the right type, and stays inside `stages/`."""
        kinds = {"version": str, "stages": dict, "shards": int, "vocabulary": list, "config": dict}
        if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
            return False
        stages, names = found["stages"], [*found["stages"].values(), *found["vocabulary"]]
        plain = all(isinstance(name, str) for name in names) and not any("/" in name for name in stages.values())
        parts = {"data": ("folder", "limit"), "student": ("kind", "labels", "model"), "base": ("version", "stages")}
        known = [(found[name], entries) for name, entries in parts.items() if found.get(name) is not None]
        whole = all(isinstance(part, dict) and part.keys() >= set(entries) for part, entries in known)
        data = found.get("data") or {}
        whole = whole and isinstance(data.get("folder", ""), str) and isinstance(data.get("limit"), int | None)
        whole = whole and isinstance(data.get("classes", []), list) and isinstance(data.get("synonyms", {}), dict)
        spelt = [*data.get("classes", []), *data.get("synonyms", {}).values()] if whole else []
        whole = whole and all(isinstance(name, str) for name in spelt)
        whole = whole and isinstance(data.get("accepted", []), list)
        whole = whole and all(isinstance(found.get(name, {}), dict) for name in ("names", "category_ids"))
        revisions = found.get("revisions") or {}
        whole = whole and isinstance(revisions, dict) and all(isinstance(value, int) for value in revisions.values())
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
    def names(self) -> dict[str, str]:
        """Names that people read in place of classes that are ids; none for other classes."""
        return dict(self.content.get("names", {}))

    @property
    def synonyms(self) -> dict[str, str]:
        """Other spellings of its classes, which `evaluate` takes too."""
        return dict(self.data.classes.synonyms) if self.data is not None else {}

    @property
    def category_ids(self) -> dict[str, Any]:
        """COCO's own number of each class, in its order; none where the images did not come from a COCO file."""
        return dict(self.content.get("category_ids", {}))

    @property
    def config(self) -> dict[str, Any]:
        """The config as it was recorded. Read it with `config.load.recorded_config`, which checks it."""
        return dict(self.content["config"])

    @property
    def code(self) -> str:
        """The release of irnet-ray that made it."""
        return str(self.content.get("code", "unknown"))

    @property
    def images(self) -> int | None:
        """How many images it has, labeled or not; None if it is not recorded."""
        return self.content.get("images")

    @property
    def labels(self) -> int | None:
        """How many images are labeled; None before the version is published."""
        return self.content.get("labels")

    @property
    def errors(self) -> int | None:
        """How many images failed; None before the version is published."""
        return self.content.get("errors")

    @property
    def data(self) -> Source | None:
        """Where the images came from; None if it is not recorded."""
        found = self.content.get("data")
        if found is None:
            return None
        apart, separator = found.get("images"), found.get("separator")
        accepted = tuple(found.get("accepted", ()))
        return Source(found["folder"], found["limit"], apart, separator, Classes.from_json(found), accepted)

    @property
    def made_by(self) -> str | None:
        """The `fingerprint` column of its labels; None if it is not recorded."""
        return self.content.get("made_by")

    @property
    def base(self) -> Version:
        """The version that trained its networks: itself, or an earlier one that has only the entries of `identity`."""
        known = self.content.get("base")
        if known is None:
            return self
        # Some releases did not record the base's config; they never changed it. The oldest did not record its code.
        shared: dict[str, Any] = {name: self.content[name] for name in ("code", "config") if name in self.content}
        return Version({**shared, **known, "vocabulary": self.content["vocabulary"]})

    def identity(self) -> dict[str, Any]:
        """The entries that another version records of this one as its `base`."""
        return {name: self.content[name] for name in _IDENTITY if name in self.content}

    @property
    def student(self) -> Predictor | None:
        """The student that made these predictions; None for labels."""
        found = self.content.get("student")
        return Predictor(found["kind"], found["labels"], found["model"]) if found is not None else None

    def revision(self, stage: str) -> int:
        """The revision of a stage when it made this version; 0 before `ORIGIN`, a revision that no later stage has."""
        known = self.content.get("revisions")
        if known is None:
            return 1 if self.content.get("code") == ORIGIN else 0
        return int(known.get(stage, 0))
