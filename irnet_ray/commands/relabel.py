"""Relabel: compute what has changed in a folder, take the rest over, publish a version beside the last one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pydantic
from rich.console import Console

from irnet_ray import tables
from irnet_ray.commands.changes import Changes, compare
from irnet_ray.commands.drift import drift_lines, measure
from irnet_ray.commands.pipeline import run_plan
from irnet_ray.commands.plan import TRAININGS, Base, Plan
from irnet_ray.config.load import recorded_config
from irnet_ray.engine.reuse import Reused
from irnet_ray.errors import UserError, printable
from irnet_ray.inputs.folder import read_folder
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.lock import hold
from irnet_ray.runs.run import finished
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.versions import Pruned, prune
from irnet_ray.storage.files import absolute

RETRAIN_SHARE = 0.2
DRIFT = "drift.json"
CARRIED = ("seeds", "labels")  # stages whose rows are of one image each


@dataclass(frozen=True)
class RelabelResult:
    """What one relabeling found and made; figures of labels are None where nothing was computed."""

    out: str
    previous: str  # the version before
    version: str  # the version now, or that would be; the same one where nothing has changed
    changes: dict[str, int]  # images by what became of them: same, moved, retagged, changed, new, removed
    retrained: tuple[str, ...]  # why everything is learnt anew; empty where it is not
    to_compute: int  # images
    images: int
    labels: int | None = None
    errors: int | None = None
    instances: int | None = None
    drift: dict[str, Any] | None = None  # the content of OUT/drift.json
    pruned: Pruned | None = None


def relabel(
    out: str | Path,
    data: str | Path | None = None,
    *,
    retrain: bool = False,
    retrain_share: float = RETRAIN_SHARE,
    keep: int | None = None,
    dry_run: bool = False,
    workers: int | None = None,
    address: str | None = None,
    console: Console | None = None,
) -> RelabelResult:
    """Bring a finished run up to date with its folder, with the run's own config.

    Images that are new, changed or retagged get seeds and labels by the networks that are there; rows of the others
    are taken over as they are. A call that was cut off is gone on with by the same call.

    Args:
        out: the run directory.
        data: the images and their tags; None for where the last version's came from.
        retrain: learn everything anew from today's images, as `label` would.
        retrain_share: learn anew, too, when more than this share of today's images is not what the networks were
            trained on: new, changed or retagged since then. A tag that they do not know is always a reason.
        keep: remove all versions but so many of the newest afterwards; None for none.
        dry_run: only say what would be computed.
        workers: training workers and network actors; None for all GPUs, or else a network actor per core.
        address: a Ray cluster; None for `RAY_ADDRESS`, else a local Ray for this call.
        console: where the plan and the progress go.

    Raises:
        UserError: no finished run, another one is at work in it, or bad input; said before anything is computed.
    """
    console = console or Console()
    if not 0 <= retrain_share <= 1:
        raise UserError(f"--retrain-share must be in [0, 1], got {retrain_share}.")
    for name, number in (("--keep", keep), ("--workers", workers)):
        if number is not None and number < 1:
            raise UserError(f"{name} must be at least 1, got {number}.")
    folder, _ = finished(out)
    with contextlib.nullcontext() if dry_run else hold(folder):
        night = look(folder, data, retrain, retrain_share)
        for line in night.lines():
            console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)
        result = RelabelResult(
            folder.location,
            str(night.version["version"]),
            night.plan.version,
            night.changes.counts(),
            night.reasons,
            night.to_compute,
            len(night.plan.table),
        )
        if dry_run:
            return result
        made = {} if night.is_settled else _run(night, workers, address, console)
        pruned = prune(folder.location, keep) if keep is not None else None
    return RelabelResult(**{**vars(result), **made, "pruned": pruned})


@dataclass(frozen=True)
class Night:
    """What was found, before anything is computed."""

    out: Folder
    version: dict[str, Any]  # the last published one
    place: dict[str, Any]  # where the images lie, as in a version's `data`
    changes: Changes
    unseen: float  # share of today's images that the networks were not trained on
    retrain_share: float
    reasons: tuple[str, ...]  # to learn everything anew
    plan: Plan
    reused: Reused | None  # None: nothing is taken over
    failed: int  # of the images that are reused, those without a row: they are tried again

    @property
    def is_settled(self) -> bool:
        """Whether the last version is what would be made."""
        return self.plan.names == self.version["stages"]

    @property
    def to_compute(self) -> int:
        """Images that go through the networks."""
        taken = self.reused.images - self.failed if self.reused is not None else 0
        return 0 if self.is_settled else len(self.plan.table) - taken

    def lines(self) -> list[str]:
        """The plan for the terminal."""
        counts = self.changes.counts()
        kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in ("new", "changed", "retagged", "moved", "removed"))
        lines = [
            f"version {self.version['version']} of {self.out.location}, images of {self.place['folder']}: "
            f"{len(self.plan.table):,} images, {counts['same']:,} as they were, {kinds}"
        ]
        if self.is_settled:
            return [*lines, "nothing is to be computed: the version is up to date"]
        if self.reasons:
            lines.append(f"everything is learnt anew: {'; '.join(self.reasons)}")
        else:
            lines.append(
                f"networks of version {Base.of(self.version).version}: {100 * self.unseen:.1f} % of the images are new "
                f"to them since they were trained, more than {100 * self.retrain_share:.4g} % would train them anew"
            )
            if self.reused is None:
                lines.append("no row is taken over: those of the last version were made by other code")
        again = f", {self.failed:,} of them once more, having failed" if self.failed else ""
        taken = len(self.plan.table) - self.to_compute
        lines.append(f"seeds and labels of {self.to_compute:,} images are computed{again}; {taken:,} are taken over")
        return lines


def look(out: Folder, data: str | Path | None, retrain: bool, retrain_share: float) -> Night:
    """Compare today's images with the last version's, and plan. Writes nothing. Raises UserError."""
    _, version = finished(out.location)
    if "student" in version:
        raise UserError(f"{out.location} holds a student's predictions: `irnet-ray predict` makes them anew.")
    place = _place(version, data)
    today = read_folder(place["folder"], version["shards"], place["limit"])
    try:
        config = recorded_config(version["config"])
    except pydantic.ValidationError as error:
        raise UserError(
            f"The config of version {version['version']} is none of this irnet-ray: run `irnet-ray label` again."
        ) from error
    changes = compare(_images(out, version, "images"), today)
    trained_on = "trained_images" if "trained_images" in version["stages"] else "images"
    unseen = compare(_images(out, version, trained_on), today).unseen / len(today)
    base = Base.of(version)
    reasons = _reasons(Plan(out, config, today, version["shards"], base), retrain, unseen, retrain_share)
    plan = Plan(out, config, today, version["shards"], None if reasons else base)
    plan.check_usable(str(place["folder"]))
    reused, failed = _reusable(plan, version, changes)
    return Night(out, version, place, changes, unseen, retrain_share, reasons, plan, reused, failed)


def _place(version: dict[str, Any], data: str | Path | None) -> dict[str, Any]:
    known = version.get("data")
    if data is not None:
        return {"folder": absolute(data), "limit": known["limit"] if known else None}
    if known is None:
        raise UserError(f"Version {version['version']} does not say where its images lie: name them with --data.")
    return dict(known)


def _whole(out: Folder, version: dict[str, Any], stage: str) -> Shards:
    """A version's table. Raises UserError where parts of it are gone."""
    shards = Shards(out.folder("stages", version["stages"][stage]), version["shards"])
    if {shards.part(shard) for shard in range(shards.count)} - set(shards.rows.files()):
        raise UserError(f"{shards.folder.location} is not whole any more: run `irnet-ray label` again.")
    return shards


def _images(out: Folder, version: dict[str, Any], stage: str) -> pa.Table:
    shards = _whole(out, version, stage)
    return pa.concat_tables([shards.rows.read_table(shards.part(n)) for n in range(shards.count)])


def _reasons(plan: Plan, retrain: bool, unseen: float, most: float) -> tuple[str, ...]:
    """Why the networks that are there will not do."""
    reasons = ["asked for"] if retrain else []
    unknown = sorted(set(tables.vocabulary(plan.table)) - set(plan.vocabulary))
    if unknown:
        reasons.append(f"new tags: {_listed(unknown)}")
    if unseen > most:
        reasons.append(f"{100 * unseen:.1f} % of the images are new to the networks, over {100 * most:.4g} %")
    learnt = [stage for stage in plan.order if stage in (*TRAININGS, "prototypes")]
    gone = [plan.names[stage] for stage in learnt if not plan.is_done(stage)]
    if gone:
        reasons.append(f"{', '.join(gone)} is gone")
    return tuple(reasons)


def _listed(names: Sequence[str], most: int = 5) -> str:
    rest = f" and {len(names) - most} more" if names[most:] else ""
    return ", ".join(map(printable, names[:most])) + rest


def _reusable(plan: Plan, version: dict[str, Any], changes: Changes) -> tuple[Reused | None, int]:
    """The rows that today's plan can take over from the last version, and how many of those images have none."""
    results = {stage: _whole(plan.out, version, stage) for stage in CARRIED}
    # Rows of one version are of one making: weights, config and code.
    if plan.base is None or version.get("made_by") != plan.made_by:
        return None, 0
    uris: dict[int, dict[str, str]] = {}
    for image_id, uri in zip(*(plan.table[name].to_pylist() for name in ("image_id", "uri")), strict=True):
        if image_id in changes.standing:
            uris.setdefault(tables.shard_of(image_id, plan.shard_count), {})[image_id] = uri
    errors = results["labels"].errors
    failed = (image_id for name in errors.files() for image_id in errors.read_table(name)["image_id"].to_pylist())
    return Reused(results, uris), sum(image_id in changes.standing for image_id in failed)


def _run(night: Night, workers: int | None, address: str | None, console: Console) -> dict[str, Any]:
    """Do it, and publish; returns the figures of the result."""
    plan, version = night.plan, night.version
    plan.out.write_json("config.json", plan.config.model_dump(mode="json"))
    drift: dict[str, Any] = {}

    def compare_labels() -> None:
        # Before the version is published: a night that is cut off in between is not to lose what it saw.
        old = Shards(plan.out.folder("stages", version["stages"]["labels"]), plan.shard_count)
        drift.update(
            {
                "from": version["version"],
                "to": plan.version,
                "learnt_anew": list(night.reasons),
                "folder": night.changes.counts(),
                **measure(old, plan.shards("labels"), night.reused.uris if night.reused is not None else {}),
            }
        )
        plan.out.write_json(DRIFT, drift)

    report = run_plan(plan, night.place, workers, address, console, night.reused, compare_labels)
    for line in drift_lines(drift):
        console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)
    return {
        "labels": report["labels"],
        "errors": report["errors"],
        "instances": report["overall"]["instances"],
        "drift": drift,
    }
