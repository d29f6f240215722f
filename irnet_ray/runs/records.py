"""The records of a run directory: every version that it holds or is to hold, written when it begins and when it ends.

    OUT/versions/<version>.json   what `current.json` holds of it; when it began and was published, and by what software

A record without `published` is of a run that has not ended: it tells which stage folders that run needs. One with
`removed` is of a version on its way out, whose folders may be gone already: to readers it is no version any more.
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

import pyarrow.fs as pafs

from irnet_ray._version import __version__
from irnet_ray.errors import UserError
from irnet_ray.runs import run
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.version import Version

RECORDS = "versions"


@dataclass(frozen=True)
class Record:
    """One version, or one run that is to become one."""

    version: Version  # without `labels` and `errors` before it is published
    begun: str | None = None  # ISO 8601, UTC
    published: str | None = None
    removed: str | None = None
    number: int = 0  # grows with every publication: clocks may jump
    software: str | None = None  # None: not known, published before there were records
    by: dict[str, Any] = field(default_factory=dict)  # `host` and `pid` of the run
    instances: int | None = None
    errors_by_stage: dict[str, dict[str, int]] = field(default_factory=dict)  # stage ▶ kind ▶ images
    folders: tuple[str, ...] = ()  # of `stages`, those that were there when it was published

    @property
    def id(self) -> str:
        """Fingerprint of its labels."""
        return self.version.id

    @property
    def stages(self) -> frozenset[str]:
        """Names of the stage folders that it needs, some of which its config may never make."""
        return frozenset(self.version.stages.values())

    @property
    def is_version(self) -> bool:
        """Whether readers may go to it."""
        return self.published is not None and self.removed is None

    @property
    def is_unfinished(self) -> bool:
        """Whether it is of a run that has not ended, or was interrupted."""
        return self.published is None and self.removed is None

    @property
    def made_by(self) -> str:
        """Seed method, or student, and backbone."""
        config, student = self.version.config, self.version.student
        method = student.kind if student is not None else config["seeds"]["method"]
        return f"{method}, {config['backbone']}"


def begin(out: Folder, version: Version) -> None:
    """Record a run that starts to write its stages. One that was published stays as it is."""
    # Reads every record: a damaged one is better named now than when the run is published.
    old = {record.id: record for record in every(out)}.get(version.id)
    if old is None or not old.is_version:
        by = {"host": socket.gethostname(), "pid": os.getpid()}
        write(out, Record(version, begun=now(), software=__version__, by=by))


def publish(out: Folder, version: Version) -> None:
    """Record a finished version, then point readers at it.

    Args:
        out: the run directory.
        version: with all entries of `current.json`, its counts of labels and errors among them.
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
    """A run directory, finished or not, which may be named by its folder `labels`. Raises UserError for another one."""
    folder = Folder(str(out))
    if folder.name == "labels" and not _is_run(folder):
        folder = folder.parent
    if not _is_run(folder):
        raise UserError(f"{out} is no run directory: name the folder that `irnet-ray label --out` writes to.")
    return folder


def _is_run(folder: Folder) -> bool:
    return folder.exists("current.json") or not {"stages", RECORDS}.isdisjoint(folder.folders())


def known(out: Folder) -> list[Record]:
    """Versions from the oldest to the newest, then unfinished runs in the order of their start. Writes nothing."""
    found = [record for record in every(out) if record.removed is None]
    current = run.current(out)
    if current is not None and not any(record.id == current.id for record in found if record.is_version):
        found.append(_unrecorded(out, current))
    return sorted(found, key=lambda record: (record.is_unfinished, record.number, record.begun or ""))


def size(folder: Folder) -> int:
    """Bytes of all files in a folder and below; 0 if there is no such folder."""
    return sum(info.size for info in listing(folder) if info.type == pafs.FileType.File)


def listing(folder: Folder) -> list[pafs.FileInfo]:
    """What lies in a folder and below, with sizes and times; nothing if there is no such folder."""
    filesystem, path = folder.filesystem
    found: list[pafs.FileInfo] = filesystem.get_file_info(pafs.FileSelector(path, allow_not_found=True, recursive=True))
    return found


def every(out: Folder) -> Iterator[Record]:
    """All records, those of versions on their way out too. Raises UserError for one that cannot be read."""
    folder = out.folder(RECORDS)
    for name in folder.files():
        record = one(out, name.removesuffix(".json"))
        if record is not None:
            yield record


def one(out: Folder, version: str) -> Record | None:
    """The record of a version or run, if there is one. Raises UserError where it cannot be read."""
    try:
        content = out.folder(RECORDS).read_json(f"{_checked(version)}.json")
        if content is None:
            return None
        record = Record(**{**content, "version": Version(content["version"]), "folders": tuple(content["folders"])})
        if record.id != version or not record.stages or not record.made_by:
            raise ValueError
        return record
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{out.location}/{RECORDS}/{version}.json is no record of this software: update irnet-ray, or delete it."
        ) from error


def write(out: Folder, record: Record) -> None:
    """Commit a record, whole."""
    out.folder(RECORDS).write_json(f"{_checked(record.id)}.json", {**asdict(record), "version": record.version.content})


def _checked(version: str) -> str:
    """An id that is a file name; a run directory from elsewhere may say anything."""
    if re.fullmatch(r"[\w-]+", version) is None:
        raise UserError(f"{version!r} is no version: this run directory is damaged.")
    return version


def adopt(out: Folder, current: Version | None) -> None:
    """Record the current version where software without records published it."""
    if current is not None:
        old = one(out, current.id)
        if old is None or not old.is_version:
            write(out, _unrecorded(out, current))


def _unrecorded(out: Folder, current: Version) -> Record:
    time = out.times().get("current.json")
    return _counted(out, Record(current, published=_text(datetime.fromtimestamp(time, UTC)) if time else now()))


def _counted(out: Folder, record: Record) -> Record:
    """A record with what its tables hold."""
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
    """Instances in all parts, from one of their small columns."""
    column = "instances.list.element.area"
    return sum(len(row["instances"]) for name in rows.files() for row in rows.stream_rows(name, [column]))


def now() -> str:
    """The time, as records tell it."""
    return _text(datetime.now(UTC))


def _text(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
