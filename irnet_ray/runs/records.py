"""The records of a run directory: one per version, finished or not, written when its run begins and when it ends.

    OUT/versions/<version>.json   the version's `current.json`; when its run began and published it, by which software

A record without `published` belongs to a run that has not finished; it tells which stage folders that run needs. A
record with `removed` belongs to a version that is being removed. Its folders may be gone already, so readers skip it.
"""

from __future__ import annotations

import os
import re
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from irnet_ray._version import __version__
from irnet_ray.errors import UserError
from irnet_ray.runs import run
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.version import Version

RECORDS = "versions"


@dataclass(frozen=True)
class Record:
    """One version, or one run that has not finished yet."""

    version: Version  # without `labels` and `errors` before it is published
    begun: str | None = None  # ISO 8601, UTC
    published: str | None = None
    removed: str | None = None
    number: int = 0  # grows with every publication; orders versions even if a clock jumps
    software: str | None = None  # None: unknown, published before there were records
    by: dict[str, Any] = field(default_factory=dict)  # `host` and `pid` of the run
    instances: int | None = None
    errors_by_stage: dict[str, dict[str, int]] = field(default_factory=dict)  # stage ▶ kind ▶ images
    folders: tuple[str, ...] = ()  # those of `stages` that existed when it was published
    others: dict[str, Any] = field(default_factory=dict)  # entries of a later release, which are written back

    @property
    def id(self) -> str:
        """Fingerprint of its labels."""
        return self.version.id

    @property
    def stages(self) -> frozenset[str]:
        """Names of the stage folders that it needs. Its config may never make some of them."""
        return frozenset(self.version.stages.values())

    @property
    def is_version(self) -> bool:
        """Whether readers may use it: published and not being removed."""
        return self.published is not None and self.removed is None

    @property
    def is_unfinished(self) -> bool:
        """Whether its run is in progress or was interrupted."""
        return self.published is None and self.removed is None

    @property
    def made_by(self) -> str:
        """Seed method, or student, and backbone."""
        config, student = self.version.config, self.version.student
        seeds = config.get("seeds")
        method = seeds.get("method", "unknown") if isinstance(seeds, dict) else "unknown"
        return f"{student.kind if student is not None else method}, {config.get('backbone', 'unknown')}"


def begin(out: Folder, version: Version) -> None:
    """Record a run that starts to write its stages. The record of a published version stays as it is."""
    # Reads every record: better to report a damaged one now than when the run has finished.
    old = {record.id: record for record in every(out)}.get(version.id)
    if old is None or not old.is_version:
        by = {"host": socket.gethostname(), "pid": os.getpid()}
        write(out, Record(version, begun=now(), software=__version__, by=by))


def publish(out: Folder, version: Version) -> None:
    """Record a finished version, then point readers at it.

    Args:
        out: the run directory.
        version: with all entries of `current.json`, including its counts of labels and errors.
    """
    current = run.current(out)
    old = one(out, version.id)
    if old is None or not old.is_version or current is None or current.id != old.id:
        adopt(out, current)
        last = max((record.number for record in every(out)), default=0)
        fresh = Record(
            version,
            begun=old.begun if old else None,
            published=now(),
            number=last + 1,
            software=__version__,
            by=old.by if old else {},
        )
        write(out, _counted(out, fresh))
    run.publish(out, version)


def opened(out: str | os.PathLike[str]) -> Folder:
    """Open a run directory, finished or not, by its own name or by its folder `labels`. Raises UserError."""
    folder = Folder(str(out))
    is_file = folder.is_local and os.path.isfile(folder.local_path)
    if not is_file and folder.name == "labels" and not _is_run(folder):
        folder = folder.parent
    if is_file or not _is_run(folder):
        raise UserError(f"{out} is no run directory: name the folder that `irnet-ray label --out` writes to.")
    return folder


def _is_run(folder: Folder) -> bool:
    return folder.exists("current.json") or not {"stages", RECORDS}.isdisjoint(folder.folders())


def known(out: Folder) -> list[Record]:
    """Versions from the oldest to the newest, then unfinished runs in the order of their start. Writes nothing."""
    found = [record for record in every(out) if record.removed is None]
    current = run.current_or_none(out)
    if current is not None and not any(record.id == current.id for record in found if record.is_version):
        found.append(_unrecorded(out, current))
    return sorted(found, key=lambda record: (record.is_unfinished, record.number, record.begun or ""))


def every(out: Folder) -> Iterator[Record]:
    """All records, including those of versions being removed. Raises UserError for one that cannot be read."""
    folder = out.folder(RECORDS)
    for name in folder.files():
        record = one(out, name.removesuffix(".json"))
        if record is not None:
            yield record


def one(out: Folder, version: str) -> Record | None:
    """The record of a version or run, if there is one. Raises UserError if it cannot be read."""
    try:
        content = out.folder(RECORDS).read_json(f"{_checked(version)}.json")
        if content is None:
            return None
        if not Version.is_one(content["version"]):
            raise ValueError
        known = {name: content[name] for name in _KINDS if name in content}
        if not all(isinstance(value, _KINDS[name]) for name, value in known.items()):
            raise ValueError
        others = {name: value for name, value in content.items() if name not in (*_KINDS, "version")}
        names = {"version": Version(content["version"]), "folders": tuple(content["folders"]), "others": others}
        record = Record(**{**known, **names})
        if record.id != version or not record.stages or not all(isinstance(name, str) for name in record.folders):
            raise ValueError
        return record
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{out.location}/{RECORDS}/{version}.json is no record that this irnet-ray can read: update irnet-ray, or "
            "move the file away if it is damaged."
        ) from error


# The types of a record's entries in JSON, except `version`.
_TEXT = (str, type(None))
_KINDS: dict[str, Any] = {
    **dict.fromkeys(("begun", "published", "removed", "software"), _TEXT),
    "number": int,
    "by": dict,
    "instances": (int, type(None)),
    "errors_by_stage": dict,
    "folders": list,
}


def write(out: Folder, record: Record) -> None:
    """Write a record, whole or not at all."""
    own = {**asdict(record), "version": record.version.content}
    del own["others"]
    out.folder(RECORDS).write_json(f"{_checked(record.id)}.json", {**record.others, **own})


def _checked(version: str) -> str:
    """Check that an id is a plain file name: a run directory from elsewhere may name any path."""
    if re.fullmatch(r"[\w-]+", version) is None:
        raise UserError(f"{version!r} is no version id: this run directory is damaged.")
    return version


def adopt(out: Folder, current: Version | None) -> None:
    """Record the current version if it has no record: the first releases wrote none."""
    if current is not None:
        old = one(out, current.id)
        if old is None or not old.is_version:
            write(out, _unrecorded(out, current))


def _unrecorded(out: Folder, current: Version) -> Record:
    time = out.times().get("current.json")
    return _counted(out, Record(current, published=_text(datetime.fromtimestamp(time, UTC)) if time else now()))


def _counted(out: Folder, record: Record) -> Record:
    """The record with the counts that its tables hold."""
    folder, there = out.folder("stages", record.version.stages["labels"]), set(out.folder("stages").folders())
    kinds: dict[str, Counter[str]] = {}
    errors = folder.folder("errors")
    for name in errors.files():
        for row in errors.read_table(name, ["stage", "kind"]).to_pylist():
            kinds.setdefault(row["stage"], Counter())[row["kind"]] += 1
    return replace(
        record,
        instances=_instances(folder.folder("rows")),
        errors_by_stage={stage: dict(count.most_common()) for stage, count in kinds.items()},
        folders=tuple(sorted(record.stages & there)),
    )


def _instances(rows: Folder) -> int:
    """Instances in all parts. Reads one small column only."""
    column = "instances.list.element.area"
    return sum(len(row["instances"]) for name in rows.files() for row in rows.stream_rows(name, [column]))


def now() -> str:
    """The time in the format of records."""
    return _text(datetime.now(UTC))


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
