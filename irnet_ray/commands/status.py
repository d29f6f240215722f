"""The status of a run directory: what is done, running and failed, how fast it runs, and when it will end.

It only reads files. So it needs no Ray, changes nothing, and also works for a run on another machine.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from irnet_ray.errors import UserError, printable
from irnet_ray.report.stage import DONE, INTERRUPTED, RUNNING, TO_DO, Errors, Stage, read_mapping, read_training
from irnet_ray.runs import lock, object_lock, records
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.owner import RunOwner
from irnet_ray.runs.records import Record
from irnet_ray.runs.run import config_of
from irnet_ray.runs.run import current as current_version
from irnet_ray.runs.versions import Listed
from irnet_ray.stages.graph import STAGES, wanted
from irnet_ray.text import cut, duration

WIDTH = 150  # columns of a line
STAGE_LINES, STUDENT_LINES = 10, 4
STAGE_KINDS = frozenset((*STAGES, "images", "tags", "truth"))  # names of folders that are no student's


def status(out: str | os.PathLike[str]) -> dict[str, Any]:
    """The status of a run directory, local or by URI, as plain values with stable keys.

    Returns:
        out: its absolute path or URI.
        lock: `host`, `pid`, `since`, `command`, `alive`, and `silent_seconds` since its last sign of life; or None.
        run: the run in progress, or else the newest one: `version`, `state` (finished, running, interrupted), `begun`,
            `images`, `shards`, `made_by`; None if there is no record of any.
        stages: for each stage, the fields of `Stage`.
        students: the same fields for all other trainings; `model` is the link to a trained student, or None.
        errors: images by stage and kind, from the last stage that has any.
        finished: the current version, as `irnet-ray versions` shows it; or None.
        versions: how many versions there are.

    Raises:
        UserError: no run directory.
    """
    folder = records.opened(out)
    known = records.known(folder)
    published = current_version(folder)
    current = published.id if published is not None else None
    finished = next((record for record in known if record.is_version and record.id == current), None)
    owner = _owner(folder)
    record, running = _run_of(known, finished, owner)
    since = record.begun if record is not None and running else None
    named = _stage_names(folder, record)
    stages = [_stage(folder, stage, name, record, since) for stage, name in named]
    errors = next((found for stage, found in reversed(stages) if found), {})
    for stage, _ in stages:
        if running and stage.state != DONE:
            stage.state = RUNNING
            break
    others = set(folder.folder("stages").folders()) - {name for _, name in named}
    return {
        "out": folder.location,
        "lock": owner,
        "run": _described(record, running),
        "stages": [asdict(stage) for stage, _ in stages],
        "students": _students(folder, sorted(others), None if running else owner),
        "errors": {stage: dict(kinds.most_common()) for stage, kinds in errors.items()},
        "finished": Listed(finished, True, 0).to_json() if finished is not None else None,
        "versions": sum(one.is_version for one in known),
    }


def text(found: dict[str, Any]) -> str:
    """Format what `status` returns, in at most 20 lines."""
    owner, run, finished = found["lock"], found["run"], found["finished"]
    lines = []
    if owner is None:
        lines.append("running     no")
    else:
        silent = duration(owner["silent_seconds"])
        sign = "" if owner["alive"] else f" (dead: no sign of life for {silent} min)"
        who = f"host {owner['host']}, pid {owner['pid']}, since {owner['since']}"
        lines.append(f"running     {who}{sign}: {owner['command']}")
    if run is not None:
        images = f", {run['images']:,} images" if run["images"] is not None else ""
        begun = f", begun {run['begun']}" if run["begun"] else ""
        lines.append(f"run         {run['version']} {run['state']}{images}, {run['made_by']}{begun}")
    lines += [Stage(**stage).line() for stage in found["stages"][-STAGE_LINES:]]
    if found["errors"]:
        kinds = (
            f"{stage}: " + ", ".join(f"{kind} {count:,}" for kind, count in counts.items())
            for stage, counts in found["errors"].items()
        )
        lines.append(f"errors      {'; '.join(kinds)}")
    shown = [student for student in found["students"] if student["model"] or student["state"] != DONE][-STUDENT_LINES:]
    for student in shown:
        fields = {name: value for name, value in student.items() if name != "model"}
        lines.append(Stage(**fields).line() + (f", {student['model']}" if student["model"] else ""))
    if finished is not None:
        lines.append(
            f"finished    {finished['version']}, published {finished['published']}: {finished['images']:,} images = "
            f"{finished['labels']:,} labels + {finished['errors']:,} errors; {finished['instances']:,} instances"
        )
    return "\n".join(printable(cut(line, WIDTH)) for line in lines)


def _owner(out: Folder) -> dict[str, Any] | None:
    """The run that holds the lock, preferably a living one; None if nobody does."""
    place = out if out.is_local else out.folder(object_lock.NAME)
    times = {name: time for name, time in place.times().items() if name == lock.NAME or not out.is_local}
    found = [_described_owner(place, name, touched) for name, touched in times.items()]
    return max(found, key=lambda one: (one["alive"], -one["silent_seconds"]), default=None)


def _described_owner(place: Folder, name: str, touched: float) -> dict[str, Any]:
    """The owner of a lock, and whether it is alive: by its process on this machine, else by its heartbeat."""
    silent = max(0.0, time.time() - touched)
    try:
        owner = RunOwner.of(place.read(name))
    except FileNotFoundError:  # released just now
        owner = None
    alive = owner.is_running if owner is not None and owner.is_here else silent <= lock.STALE
    names = ("host", "pid", "since", "command")
    return {**{name: getattr(owner, name, None) for name in names}, "alive": alive, "silent_seconds": silent}


def _run_of(
    known: Sequence[Record], finished: Record | None, owner: dict[str, Any] | None
) -> tuple[Record | None, bool]:
    """The run to describe, and whether it is the one that holds the lock."""
    begun = [record for record in known if record.is_unfinished]
    if owner is not None and owner["alive"]:
        for record in begun:
            if record.by == {"host": owner["host"], "pid": owner["pid"]}:
                return record, True
    newest = begun[-1] if begun else None
    if finished is not None and (newest is None or (newest.begun or "") < (finished.published or "")):
        return finished, False
    return newest, False


def _described(record: Record | None, running: bool) -> dict[str, Any] | None:
    if record is None:
        return None
    state = "finished" if record.is_version else RUNNING if running else INTERRUPTED
    return {
        "version": record.id,
        "state": state,
        "begun": record.begun,
        "images": record.version.images,
        "shards": record.version.shard_count,
        "made_by": record.made_by,
    }


def _stage_names(out: Folder, record: Record | None) -> list[tuple[str, str]]:
    """Stages in order, each with the name of its folder. Without a record, all stage folders that exist."""
    if record is None:
        there = out.folder("stages").folders()
        return [(stage, name) for stage in STAGES for name in there if name.rpartition("-")[0] == stage]
    names, made = record.version.stages, tuple(STAGES.values())
    with contextlib.suppress(UserError):  # of a config that only a later release can read, all stages are shown
        made = wanted(config_of(out, record.version))
    return [(stage.name, names[stage.name]) for stage in made if stage.name in names]


def _stage(out: Folder, stage: str, name: str, record: Record | None, since: str | None) -> tuple[Stage, Errors]:
    folder = out.folder("stages", name)
    found = Stage(stage, f"stages/{name}", TO_DO, "images")
    if STAGES[stage].kind == "train":
        read_training(found, folder)
        return found, {}
    found.unit = STAGES[stage].unit
    if found.unit == "tags":
        if record is not None and "tags" in record.version.stages:
            found.total = out.folder("stages", record.version.stages["tags"], "rows").count_rows() or None
    elif record is not None:
        found.total = record.version.images
    return found, read_mapping(found, folder, since)


def _students(out: Folder, names: list[str], owner: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Trainings that are no stage of labeling: students, and those of `evaluate`. `owner` may be running one."""
    models, found = _models(out), []
    since = _started(owner) if owner is not None and owner["alive"] else None
    for name in names:
        kind, folder = name.rpartition("-")[0], out.folder("stages", name)
        there = folder.times()
        if kind in STAGE_KINDS or not ({*there, *folder.folders()} & {"progress.json", "training", "model.json"}):
            continue
        stage = Stage(kind, f"stages/{name}", TO_DO, "iterations")
        read_training(stage, folder)
        if since and stage.state != DONE and max(there.values(), default=0.0) >= since.timestamp():
            stage.state = RUNNING
        found.append({**asdict(stage), "model": models.get(name)})
    return found


def _started(owner: dict[str, Any]) -> datetime | None:
    try:
        return datetime.strptime(str(owner["since"]), "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    except ValueError:
        return None


def _models(out: Folder) -> dict[str, str]:
    """Links to trained students, by the name of the stage folder that each points to."""
    if not out.is_local:
        return {}
    place = os.path.join(out.local_path, "models")
    links = os.listdir(place) if os.path.isdir(place) else []
    return {os.path.basename(os.path.realpath(os.path.join(place, link))): f"models/{link}" for link in sorted(links)}
