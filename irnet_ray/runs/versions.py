"""The versions of a run directory: list them, move back to one, remove old ones.

Each call may be killed at any moment: every file is written whole, and in an order in which no version is ever listed
whose tables are missing. The same call again does the rest.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from irnet_ray import text
from irnet_ray.errors import UserError, printable
from irnet_ray.runs import records, run
from irnet_ray.runs.folder import Folder, writing
from irnet_ray.runs.lock import hold
from irnet_ray.runs.records import Record
from irnet_ray.runs.run import REPORT, WEIGHTS, FinishedRun
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Version

MODEL = "model.json"  # of a trained student
LINKS = ("labels", "errors", "images")
ASIDE = ".removed"  # suffix of a stage folder that is being deleted


@dataclass(frozen=True)
class Listed:
    """A version or an unfinished run, whether it is the current one, and the size of what only it uses."""

    record: Record
    current: bool
    bytes: int  # of stage folders that no other version or run uses

    def to_json(self) -> dict[str, Any]:
        """The figures as plain values; unknown ones are None."""
        one = self.record
        counts = {"images": one.version.images, "labels": one.version.labels, "errors": one.version.errors}
        return {
            "version": one.id,
            "current": self.current,
            "begun": one.begun,
            "published": one.published,
            **counts,
            "instances": one.instances,
            "errors_by_stage": one.errors_by_stage,
            "made_by": one.made_by,
            "software": one.software,
            "bytes": self.bytes,
        }


def listed(out: str | os.PathLike[str]) -> list[Listed]:
    """Versions from the oldest to the newest, then unfinished runs. Raises UserError if `out` is no run directory."""
    folder = records.opened(out)
    current = run.current_or_none(folder)
    known = records.known(folder)
    users = Counter(name for record in known for name in record.stages)
    return [
        Listed(
            record,
            record.is_version and current is not None and record.id == current.id,
            sum(folder.folder("stages", name).size() for name in record.stages if users[name] == 1),
        )
        for record in known
    ]


def table(rows: Sequence[Listed]) -> str:
    """One aligned line per version; the current one has a star."""
    cells = [["", "version", "published", "images", "labels", "errors", "instances", "only its", "made by"]]
    for row in rows:
        figures = row.to_json()
        counts = [_figure(figures[name]) for name in ("images", "labels", "errors", "instances")]
        published = (row.record.published or "unfinished").replace("T", " ").removesuffix("Z")
        own = text.bytes_text(row.bytes)
        cells.append(["*" * row.current, row.record.id, published, *counts, own, row.record.made_by])
    return "\n".join(text.table(cells, left=(0, 1, 2, 8)))


def _figure(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def rollback(out: str | os.PathLike[str], version: str | None = None) -> tuple[str | None, Record]:
    """Make an earlier version the current one: move the pointer, the links, the config and the report to it.

    The records of the versions are enough: a version that is named can be made the current one where `current.json` is
    lost or damaged.

    Args:
        out: the run directory.
        version: its id, or the start of it; None for the version that was published before the current one.

    Returns:
        The id of the version that was current before, None if `current.json` was lost or damaged, and the record of the
        current one.

    Raises:
        UserError: no such version, or some of its tables or weights are missing.
    """
    folder = records.opened(out)
    with hold(folder):
        current = _current(folder, version)
        records.adopt(folder, current)
        wanted = _earlier(folder, current, version)
        lost = _lost(folder, wanted)
        if lost:
            raise UserError(
                f"Version {wanted.id} is not whole any more, {lost} is missing or damaged: "
                "`irnet-ray label` with its config makes it again."
            )
        if current is not None:
            _keep_report(folder, current)
        run.publish(folder, wanted.version)
        _follow(folder, wanted)
    return current.id if current is not None else None, wanted


def _current(out: Folder, version: str | None) -> Version | None:
    """The current version; None if `current.json` is lost or damaged and a version is named, whose record is enough."""
    found = run.current_or_none(out)
    if found is None and version is None:
        known = ", ".join(record.id for record in records.known(out) if record.is_version)
        if not known:
            raise UserError(f"No version of {out.location} has finished: run `irnet-ray label` first.")
        raise UserError(
            f"{out.location}/current.json is missing or damaged: name the version to go back to, of {known}."
        )
    return found


def _earlier(out: Folder, current: Version | None, version: str | None) -> Record:
    """The version that a rollback leads to."""
    known = [record for record in records.known(out) if record.is_version]
    if version is not None or current is None:
        version = version or ""
        if not version:
            raise UserError(f"The version is empty: choose one of {', '.join(record.id for record in known)}.")
        matching = [record for record in known if record.id.startswith(version)]
        if len(matching) == 1:
            return matching[0]
        raise UserError(
            f"{'No version' if not matching else 'More than one version'} in {out.location} begins with "
            f"{version!r}: choose one of {', '.join(record.id for record in known)}."
        )
    place = [record.id for record in known].index(current.id)
    if not _is_settled(out, current):  # an earlier call was killed between pointer and links: finish that one
        return known[place]
    if place == 0:
        others = f": name one of {', '.join(record.id for record in known[1:])}" if known[1:] else ""
        raise UserError(f"No version of {out.location} was published before the current one, {known[0].id}{others}.")
    return known[place - 1]


def _lost(out: Folder, record: Record) -> str:
    """The first stage folder of a version that is not whole; "" if all are whole."""
    for stage, name in record.version.stages.items():
        if name not in record.folders:
            continue
        shards = Shards(out.folder("stages", name), record.version.shard_count)
        parts = shards.rows.files()
        # A part's name tells the number of parts. It may differ from the version's: reused networks may come from a
        # run with another number of shards.
        whole = shards.folder.exists(WEIGHTS) or {f"{len(parts):05d}"} == {part[-13:-8] for part in parts}
        if whole and stage == "labels":
            try:
                whole = sum(shards.counts()) == record.version.images
            except (OSError, UserError):
                whole = False
        if not whole:
            return f"stages/{name}"
    return ""


def _keep_report(out: Folder, current: Version) -> None:
    """Put the report beside its labels; older software kept it only at the top."""
    report, own = out.read_object(REPORT), out.folder("stages", current.stages["labels"])
    if report.get("version") == current.id and not own.exists(REPORT):
        own.write_json(REPORT, report)


def _follow(out: Folder, record: Record) -> None:
    """Write the config and the report of the version that is current now beside the pointer."""
    out.write_json("config.json", record.version.config)
    report = out.folder("stages", record.version.stages["labels"]).read_object(REPORT)
    if report:
        out.write_json(REPORT, report)
    elif out.exists(REPORT):  # it belongs to another version
        out.remove(REPORT)


def _is_settled(out: Folder, current: Version) -> bool:
    """Whether the links and the report belong to the version that the pointer names."""
    if out.exists(REPORT) and out.read_object(REPORT).get("version") != current.id:
        return False
    if not out.is_local:
        return True
    stages = os.path.join(out.local_path, "stages")
    targets = [os.path.realpath(os.path.join(out.local_path, name)) for name in LINKS]
    kinds = (("labels", "rows"), ("labels", "errors"), ("images", "rows"))
    return targets == [os.path.realpath(os.path.join(stages, current.stages[stage], kind)) for stage, kind in kinds]


@dataclass(frozen=True)
class Pruned:
    """What `prune` removes or would remove: versions, and stage folders with their bytes. And what it keeps."""

    versions: tuple[str, ...]
    folders: dict[str, int]
    unfinished: tuple[str, ...]  # ids of the interrupted runs that it keeps
    unnamed: dict[str, int]  # stage folders that it keeps although no record names them

    @property
    def bytes(self) -> int:
        """The bytes that this frees, or would free."""
        return sum(self.folders.values())

    def text(self, dry_run: bool) -> str:
        """A line per stage folder, one for the sum, and one for what was kept but could be removed too."""
        would = "would remove" if dry_run else "removed"
        lines = [f"{would}  stages/{name}  {text.bytes_text(count)}" for name, count in self.folders.items()]
        lines.append(
            f"{would} {text.count(len(self.versions), 'version')} and {text.count(len(self.folders), 'stage folder')}, "
            f"{text.bytes_text(self.bytes)} ({self.bytes} bytes)"
        )
        rest = [text.count(len(self.unfinished), "unfinished run")] if self.unfinished else []
        if self.unnamed:
            size = text.bytes_text(sum(self.unnamed.values()))
            rest.append(f"{text.count(len(self.unnamed), 'stage folder')} of no version, {size}")
        if rest:
            lines.append(f"kept {' and '.join(rest)}: --unfinished removes them")
        return "\n".join(map(printable, lines))


def prune(out: str | os.PathLike[str], keep: int, *, unfinished: bool = False, dry_run: bool = False) -> Pruned:
    """Remove all versions except the newest few, and the stage folders that no other version or run needs.

    Trained students are always kept. Without `unfinished`, so is what an interrupted run needs to continue, and so are
    folders that no record names: comparisons of `evaluate`, students in training.

    Args:
        out: the run directory.
        keep: how many of the newest versions to keep; the current version is always kept.
        unfinished: also remove interrupted runs and the folders that no record names.
        dry_run: only say what would be removed.

    Raises:
        UserError: no finished run, or `keep` is less than 1.
    """
    if keep < 1:
        raise UserError(f"--keep must be at least 1, got {keep}.")
    folder = FinishedRun.open(out).folder
    with contextlib.nullcontext() if dry_run else hold(folder):
        current = FinishedRun.open(folder.location).version
        gone, plan = _plan(folder, current, keep, unfinished)
        if not dry_run:
            _remove(folder, current, gone, plan)
    return plan


def _plan(out: Folder, current: Version, keep: int, unfinished: bool) -> tuple[list[Record], Pruned]:
    known = records.known(out)
    versions = [record for record in known if record.is_version]
    kept = [record for record in versions if record in versions[-keep:] or record.id == current.id]
    begun = [record for record in known if record.is_unfinished]
    if not unfinished:
        kept += begun
    kept_ids = {record.id for record in kept}
    gone = [record for record in records.every(out) if record.id not in kept_ids]
    needed = frozenset[str]().union(*(record.stages for record in kept), current.stages.values())
    named = frozenset[str]().union(*(record.stages for record in gone))
    sizes = {name: out.folder("stages", name).size() for name in out.folder("stages").folders()}
    trained = {name for name in sizes if out.folder("stages", name).exists(MODEL)}
    free = {name: bytes for name, bytes in sizes.items() if name not in needed | trained}
    removed = {name: bytes for name, bytes in free.items() if unfinished or name in named or name.endswith(ASIDE)}
    return gone, Pruned(
        tuple(record.id for record in gone),
        removed,
        () if unfinished else tuple(record.id for record in begun),
        {name: bytes for name, bytes in free.items() if name not in removed},
    )


def _remove(out: Folder, current: Version, gone: list[Record], plan: Pruned) -> None:
    """Hide the versions from readers first, then delete their folders, then the records that name these."""
    if not _is_settled(out, current):  # a killed rollback left links behind, which would lead nowhere
        run.publish(out, current)
    for record in gone:
        if record.removed is None:
            records.write(out, replace(record, removed=records.now()))
    for name in plan.folders:
        _delete_stage(out, name)
    for record in gone:
        out.folder(records.RECORDS).remove(f"{record.id}.json")


def _delete_stage(out: Folder, name: str) -> None:
    """Delete a stage folder. If this is killed, what is left of the folder is never taken for a result."""
    folder = out.folder("stages", name)
    if not out.is_local:  # a store cannot rename: first delete what marks the stage as done
        folder.folder("rows").delete()
        if folder.exists(WEIGHTS):
            folder.remove(WEIGHTS)
    elif not name.endswith(ASIDE):
        aside = out.folder("stages", f".{name}{ASIDE}")
        aside.delete()
        with writing(folder.location):
            os.rename(folder.local_path, aside.local_path)
        folder = aside
    folder.delete()
