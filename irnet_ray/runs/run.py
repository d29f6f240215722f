"""A run directory: where the results lie, how a finished run is read, and how a version is published.

    OUT/config.json                                   the effective config
    OUT/current.json                                  the stage folders of the finished version; moves atomically
    OUT/report.json                                   what the finished version's labels hold
    OUT/labels, errors, images                        links to the finished version's tables (local folders only)
    OUT/stages/<stage>-<fingerprint>/                 one folder per stage and version, never mixed
        rows/part-00007-of-00064.parquet              a sealed shard
        errors/part-00007-of-00064.parquet            its failed images; written before the rows
        units/part-00007-of-00064/<hash>.parquet      committed units of a shard that is not sealed yet
        weights.safetensors                           of a training stage

A file appears under its name only when it is whole: locally by a rename, in object stores by a single request.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pydantic import ValidationError

from irnet_ray.config.load import Config, recorded_config
from irnet_ray.errors import AGAIN, UserError, reason
from irnet_ray.runs.folder import Folder, writing
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Version
from irnet_ray.storage.locations import is_uri, join

WEIGHTS = "weights.safetensors"  # of a training stage; exists once the training has ended
REPORT = "report.json"


def writable(out: str | os.PathLike[str]) -> Folder:
    """Return the folder after checking that it is writable; a local one is created if absent. Raises UserError."""
    if is_uri(str(out)):
        folder, probe = Folder(str(out)), f".{uuid.uuid4().hex}.tmp"
        folder.write(probe, b"")
        folder.remove(probe)
        return folder
    try:
        os.makedirs(out, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UserError(f"Cannot write to the output folder {out}: {reason(error)}.") from error
    return Folder(str(out))


@dataclass(frozen=True)
class FinishedRun:
    """A run directory with a finished version: what every reader of one starts from."""

    folder: Folder
    version: Version  # the current one

    @staticmethod
    def open(out: str | os.PathLike[str]) -> FinishedRun:
        """The run in `out`, a run directory or its folder `labels`.

        Raises:
            UserError: no run has finished there, or `current.json` is damaged.
        """
        folder = Folder(str(out))
        if folder.name == "labels" and not folder.exists("current.json"):
            folder = folder.parent
        version = current(folder)
        if version is None:
            lost = f", or `irnet-ray rollback {out} VERSION` if current.json is lost" if folder.folders() else ""
            raise UserError(f"No finished run in {out}: run `irnet-ray label --out {out}` first{lost}.")
        return FinishedRun(folder, version)

    @cached_property
    def config(self) -> Config:
        """Its config. Raises UserError if this irnet-ray cannot read it."""
        return config_of(self.folder, self.version)

    @property
    def vocabulary(self) -> list[str]:
        """Names of the classes; a class id is an index into it."""
        return self.version.vocabulary

    def stage(self, name: str) -> Folder:
        """Folder of a stage's result. Raises UserError if the version has no such stage."""
        stages = self.version.stages
        if name not in stages and self.version.student is not None:
            raise UserError(
                f"{self.folder.location} holds a student's predictions, which have no {name}: name the run directory "
                "of a labeling run."
            )
        if name not in stages:
            raise UserError(f"Version {self.version.id} of {self.folder.location} has no stage {name}: {AGAIN}")
        return self.folder.folder("stages", stages[name])

    def shards(self, stage: str) -> Shards:
        """Sharded result of a map stage, or of the images table."""
        return Shards(self.stage(stage), self.version.shard_count)


def config_of(out: Folder, version: Version) -> Config:
    """The config of a version. Raises UserError if this irnet-ray cannot read it."""
    try:
        return recorded_config(version.config)
    except ValidationError as error:
        raise UserError(
            f"This irnet-ray cannot read the config of version {version.id} in {out.location}: update irnet-ray, or "
            "run `irnet-ray label` again."
        ) from error


def current(out: Folder) -> Version | None:
    """The current version of a run directory; None before a run has finished. Raises UserError if it is damaged."""
    found = out.read_json("current.json")
    if found is not None and not Version.is_one(found):
        raise UserError(
            f"{out.location}/current.json is damaged (it names no stages): `irnet-ray rollback {out.location} VERSION` "
            "writes it again, and `irnet-ray versions` lists the versions."
        )
    return Version(found) if found is not None else None


def current_or_none(out: Folder) -> Version | None:
    """As `current`, but None too where `current.json` is damaged."""
    with contextlib.suppress(UserError):
        return current(out)
    return None


def published(out: str, version: str, table: Literal["labels", "errors"] = "labels") -> str:
    """Where people find a table of a finished version: the link to it, or its folder in a store, which has no links."""
    kind = "rows" if table == "labels" else "errors"
    return join(out, "stages", f"labels-{version}", kind) if is_uri(out) else f"{out}/{table}"


def publish(out: Folder, version: Version) -> None:
    """Point readers at a finished version: by `current.json`, and locally by links to its tables too."""
    out.write_json("current.json", version.content)
    if not out.is_local:
        return
    stages = version.stages
    targets = {
        "labels": f"{stages['labels']}/rows",
        "errors": f"{stages['labels']}/errors",
        "images": f"{stages['images']}/rows",
    }
    with writing(out.location):
        for name, target in targets.items():
            temporary = f"{out.local_path}/.{uuid.uuid4().hex}.link"
            os.symlink(f"stages/{target}", temporary)
            os.replace(temporary, f"{out.local_path}/{name}")
