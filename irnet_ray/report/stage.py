"""How far a stage of a run is, read from the files in its folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.fs as pafs

from irnet_ray.errors import UserError
from irnet_ray.report.profile import advice
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.tables import Row
from irnet_ray.text import duration

UNITS = 512  # of a stage that are read; of more than that, a sample at even distances is read
READERS = 16  # threads, because on an object store each file is a wait

DONE, RUNNING, INTERRUPTED, TO_DO = "done", "running", "interrupted", "to do"
Errors = dict[str, Counter[str]]  # stage ▶ kind ▶ images


@dataclass
class Stage:
    """How far a stage is. Unknown values are None."""

    stage: str
    folder: str
    state: str
    unit: str  # what it counts: images, tags or iterations
    done: int | None = None
    total: int | None = None
    errors: int | None = None  # images, of a map stage
    estimated: bool = False  # whether `done` and `errors` are estimated from a sample of the units
    per_second: float | None = None
    seconds_left: float | None = None
    seconds: float | None = None  # how long the run took that finished it
    summary: str | None = None
    checkpoint: int | None = None  # iteration that an interrupted training continues from
    epochs: int | None = None  # finished, of a training
    losses: dict[str, float] = field(default_factory=dict)
    profile: dict[str, Any] | None = None

    def line(self) -> str:
        """One line on it, for a terminal."""
        said = [f"{self.stage:<12}{self.state:<12}"]
        if self.done is not None and (self.done or self.state != TO_DO):
            of = f" of {self.total:,}" if self.total is not None else ""
            said.append(f"{'about ' * self.estimated}{self.done:,}{of} {self.unit}")
        if self.errors:
            said.append(f"{self.errors:,} errors")
        if self.per_second:
            said.append(f"{self.per_second:.3g}/s")
        if self.seconds is not None:
            said.append(f"{duration(self.seconds)} min")
        if self.state == RUNNING and self.seconds_left is not None:
            end = datetime.now(UTC) + timedelta(seconds=self.seconds_left)
            said.append(f"{duration(self.seconds_left)} left, until {end:%H:%M} UTC")
        if self.state == INTERRUPTED and self.checkpoint is not None:
            said.append(f"goes on from {self.checkpoint:,}")
        if self.losses and self.state != DONE:
            said.append(", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in self.losses.items()))
        if self.profile is not None:
            said.append(advice(self.profile))
        return said[0] + ", ".join(said[1:])


def read_training(found: Stage, folder: Folder) -> None:
    """Fill in how far a training is, from its progress, its checkpoints and its history."""
    found.unit = "iterations"
    progress = folder.read_object("progress.json")
    history: list[dict[str, Any]] = _history(folder.read_json("history.json"))
    found.done, found.total = progress.get("iteration"), progress.get("iterations")
    found.losses, found.per_second = progress.get("losses", {}), progress.get("per_second")
    if folder.exists(WEIGHTS):
        found.state = DONE
    else:
        saved = _last_checkpoint(folder)
        if saved is not None or progress:
            found.state = INTERRUPTED
            history = _history(saved.get("history")) if saved is not None else []
            found.checkpoint = history[-1]["iteration"] if history else 0
            if found.per_second and found.total is not None and found.done is not None:
                found.seconds_left = (found.total - found.done) / found.per_second
    if history:
        found.epochs = len(history)
        if found.state == DONE:
            found.done = found.total = history[-1]["iteration"]
            found.losses = history[-1]["losses"]
    _ended(found, folder)


def _history(found: Any) -> list[dict[str, Any]]:
    """The epochs of a training; none where the file holds something else."""
    is_one = isinstance(found, list) and all(isinstance(one, dict) and "iteration" in one for one in found)
    return found if is_one else []


def _last_checkpoint(folder: Folder) -> dict[str, Any] | None:
    """State of the newest checkpoint of an unfinished training; None if there is none."""
    below = folder.folder("training").everything()
    states = sorted((info.mtime, info.path) for info in below if info.base_name == "state.json")
    for _, path in reversed(states):
        place, name = path.rsplit("/", 2)[-2:]
        run = path.rsplit("/", 3)[-3]
        try:
            state: dict[str, Any] = json.loads(folder.folder("training", run, place).read(name))
        except (OSError, UserError, ValueError):  # the next checkpoint is replacing it right now
            continue
        return state
    return None


def _ended(found: Stage, folder: Folder) -> None:
    ended = folder.read_object("done.json")
    found.seconds, found.summary = ended.get("seconds"), ended.get("summary")
    found.profile = folder.read_object("profile.json") or None


def read_mapping(found: Stage, folder: Folder, since: str | None) -> Errors:
    """Fill in how far a map stage is, from its sealed parts and its units; returns its errors.

    `since` is when the run began that is at it, in ISO format; None for a run that has ended.
    """
    rows, failed = folder.folder("rows"), folder.folder("errors")
    parts = [name for name in rows.files() if name.endswith(".parquet")]
    units = [info for info in folder.folder("units").everything() if _is_unit(info)]
    if not parts and not units:
        return {}
    if found.total is None and len(parts) == _parts(parts):
        found.total = rows.count_rows(parts) + failed.count_rows()
    found.state = DONE if len(parts) == _parts(parts) else INTERRUPTED
    with ThreadPoolExecutor(READERS) as pool:
        sealed = sum(pool.map(lambda name: rows.count_rows([name]), parts))
        errors: Errors = {}
        known = [name for name in failed.files() if name in parts]
        tables = pool.map(lambda name: failed.read_table(name, ["stage", "kind"]).to_pylist(), known)
        _count(errors, (row for table in tables for row in table))
        found.errors = sum(map(Counter.total, errors.values()))
        found.done = sealed + found.errors
        if found.state == DONE:
            _ended(found, folder)
            if found.profile is not None:
                found.per_second = found.profile["images_per_second"]
            return errors
        drawn = units[:: max(1, len(units) // UNITS)]
        sizes = [rows for rows in pool.map(lambda info: _read_unit(folder, info), drawn) if rows is not None]
    scale = len(units) / max(1, len(drawn))
    found.estimated = len(drawn) < len(units)
    found.done += round(scale * sum(len(rows) for rows in sizes))
    _count(errors, (row for rows in sizes for row in rows if row is not None))
    found.errors += round(scale * sum(row is not None for rows in sizes for row in rows))
    if since is not None:
        mean = sum(len(rows) for rows in sizes) / max(1, len(sizes))
        found.per_second = _rate([info.mtime for info in units], mean, datetime.fromisoformat(since))
        if found.per_second and found.total is not None:
            found.seconds_left = max(0, found.total - found.done) / found.per_second
    return errors


def _is_unit(info: pafs.FileInfo) -> bool:
    return info.type == pafs.FileType.File and info.extension == "parquet" and not info.base_name.startswith(".")


def _parts(names: Sequence[str]) -> int:
    """How many parts there will be, which the name of each part tells; -1 without a part."""
    return int(names[0].rpartition("-")[2].removesuffix(".parquet")) if names else -1


def _read_unit(folder: Folder, info: pafs.FileInfo) -> list[Row | None] | None:
    """The error, or None, of each of a unit's images; None for a unit that has just been merged into a sealed part."""
    shard, name = info.path.rsplit("/", 2)[-2:]
    try:
        errors: list[Row | None] = folder.folder("units", shard).read_table(name, ["error"])["error"].to_pylist()
    except (OSError, UserError):
        return None
    return errors


def _count(errors: Errors, rows: Iterable[Row]) -> None:
    for row in rows:
        errors.setdefault(row["stage"], Counter())[row["kind"]] += 1


def _rate(times: list[datetime], unit: float, since: datetime) -> float | None:
    """Images per second since the first unit that this run committed; None while there is only one."""
    own = sorted(time for time in times if time >= since)
    if len(own) < 2:
        return None
    passed = max((datetime.now(UTC) - own[0]).total_seconds(), (own[-1] - own[0]).total_seconds())
    return unit * (len(own) - 1) / passed if passed > 0 else None
