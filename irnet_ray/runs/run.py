"""A run directory: where each stage's results lie, what is done, what is left, and how a result is committed.

    OUT/config.json                                   the effective config
    OUT/current.json                                  the stage folders of the finished version; moves atomically
    OUT/report.json                                   what the finished version's labels hold
    OUT/labels, errors, images                        links to the finished version's tables (local folders only)
    OUT/stages/<stage>-<fingerprint>/                 one folder per stage and version, never mixed
        rows/part-00007-of-00064.parquet              a sealed shard
        errors/part-00007-of-00064.parquet            its failed images; written before the rows
        units/part-00007-of-00064/<hash>.parquet      committed units of a shard that is not sealed yet
        weights.safetensors                           of a training stage

A file appears under its name only when it is whole: locally by rename, on object stores by a single request.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from typing import Any, Literal

from irnet_ray.errors import AGAIN, UserError
from irnet_ray.runs.folder import Folder, writing
from irnet_ray.storage.object_store import is_uri, join


def writable(out: str | os.PathLike[str]) -> Folder:
    """A folder that can be written to; a local one is created if need be. Raises UserError."""
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
        raise UserError(f"Cannot write to the output folder {out}: {error.strerror or error}.") from error
    return Folder(str(out))


def finished(out: str | os.PathLike[str]) -> tuple[Folder, dict[str, Any]]:
    """The run directory, which may be named by its folder `labels`, and its current version.

    Raises UserError where no run has finished, or the version is none.
    """
    folder = Folder(str(out))
    if folder.name == "labels" and not folder.exists("current.json"):
        folder = folder.parent
    version = current(folder)
    if version is None:
        raise UserError(f"No finished run in {out}: run `irnet-ray label --out {out}` to its end first.")
    return folder, version


def current(out: Folder) -> dict[str, Any] | None:
    """The current version of a run directory; None before a run has finished. Raises UserError where it is none."""
    version = out.read_json("current.json")
    if version is not None and not _is_version(version):
        raise UserError(f"{out.location}/current.json is damaged (it names no stages): {AGAIN}")
    return version


def _is_version(found: Any) -> bool:
    """Whether this may be what `publish` wrote: folders by stage, none of them elsewhere, and all that readers need."""
    kinds = {"version": str, "stages": dict, "shards": int, "vocabulary": list, "config": dict}
    if not isinstance(found, dict) or not all(isinstance(found.get(name), kind) for name, kind in kinds.items()):
        return False
    stages, names = found["stages"], [*found["stages"].values(), *found["vocabulary"]]
    plain = all(isinstance(name, str) for name in names) and not any("/" in name for name in stages.values())
    return plain and {"images", "labels"} <= stages.keys() and found["shards"] >= 1


def published(out: str, version: str, table: Literal["labels", "errors"] = "labels") -> str:
    """Where people find a table of a finished version: the link to it, or in a store, which has none, its folder."""
    kind = "rows" if table == "labels" else "errors"
    return join(out, "stages", f"labels-{version}", kind) if is_uri(out) else f"{out}/{table}"


def publish(out: Folder, version: dict[str, Any]) -> None:
    """Point readers at a finished version: `current.json`, and links to its tables where links exist."""
    out.write_json("current.json", version)
    if not out.is_local:
        return
    stages = version["stages"]
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
