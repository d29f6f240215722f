"""Relabel a folder: compute what has changed, reuse the other rows, publish a new version beside the last one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console

from irnet_ray import tables
from irnet_ray.classes import Classes
from irnet_ray.commands.changes import Changes, compare
from irnet_ray.commands.defaults import RETRAIN_SHARE
from irnet_ray.commands.drift import drift_lines, measure
from irnet_ray.commands.inspect import Inspection, inspected, print_lines
from irnet_ray.commands.pipeline import run_plan
from irnet_ray.commands.plan import Plan, maker, other_knobs
from irnet_ray.config.load import load_config, recorded_config
from irnet_ray.engine.reuse import Reused
from irnet_ray.errors import UserError, printable
from irnet_ray.inputs.classes_file import read_classes
from irnet_ray.inputs.folder import read
from irnet_ray.report.names import named
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.lock import hold
from irnet_ray.runs.run import FinishedRun
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Source, Version
from irnet_ray.runs.versions import Pruned, prune
from irnet_ray.stages.graph import STAGES, wanted
from irnet_ray.storage.locations import absolute
from irnet_ray.text import names

DRIFT = "drift.json"
PER_IMAGE = tuple(name for name, stage in STAGES.items() if stage.per_image)


@dataclass(frozen=True)
class RelabelResult:
    """What a relabeling found and made; the counts of labels are None if nothing was computed."""

    out: str
    previous: str  # the version before
    version: str  # the version now, or the one that would be made; equal to `previous` if nothing has changed
    changes: dict[str, int]  # number of images that are same, moved, retagged, changed, new or removed
    retrained: tuple[str, ...]  # why the networks are trained again; empty if they are not
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
    images: str | Path | None = None,
    separator: str | None = None,
    classes: str | Path | None = None,
    synonyms: str | Path | None = None,
    accept: Sequence[str] = (),
    settings: Sequence[str] = (),
    workers: int | None = None,
    address: str | None = None,
    console: Console | None = None,
) -> RelabelResult:
    """Bring a finished run up to date with its folder, with the run's own config or some of its knobs changed.

    Images that are new, changed or retagged get seeds and labels from the existing networks. The rows of all other
    images are reused. The same call continues one that was interrupted.

    Args:
        out: the run directory.
        data: the images and their tags; None for the place of the last version's images.
        retrain: train all networks again on today's images, as `label` would.
        retrain_share: also train them again if more than this share of today's images is new, changed or retagged
            since their training. A tag that the networks do not know always leads to a training.
        keep: afterwards keep only this many of the newest versions; None for all.
        dry_run: only say what would be computed.
        images, separator: as for `label`; None for those of the last version, unless `data` names another place.
        classes, synonyms: files as for `label`; None for what those of the last version held. Another list of classes
            trains all networks again.
        accept: names of suspicions to ignore, beside those that `label` was told to; see `inputs.suspicions`.
        settings: knobs to change from the run's config, such as `labels.background=0.3`. If the networks depend on one
            of them, they are trained again.
        workers: training workers and network actors; None for all GPUs, or for a network actor per core without one.
        address: a Ray cluster; None for `RAY_ADDRESS`, else a local Ray for this call.
        console: where the plan and the progress go.

    Raises:
        UserError: no finished run, another run is writing to it, or bad input. Raised before anything is computed.
    """
    console = console or Console()
    if not 0 <= retrain_share <= 1:
        raise UserError(f"--retrain-share must be in [0, 1], got {retrain_share}.")
    for name, number in (("--keep", keep), ("--workers", workers)):
        if number is not None and number < 1:
            raise UserError(f"{name} must be at least 1, got {number}.")
    folder = FinishedRun.open(out).folder
    with contextlib.nullcontext() if dry_run else hold(folder):
        todo = plan_relabel(
            folder, data, retrain, retrain_share, settings, images, separator, classes, synonyms, accept
        )
        print_lines(console, todo.inspection.lines())
        todo.inspection.check(todo.source.accepted)
        print_lines(console, todo.lines())
        result = RelabelResult(
            folder.location,
            todo.run.version.id,
            todo.plan.version,
            todo.changes.counts(),
            todo.reasons,
            todo.to_compute,
            len(todo.plan.table),
        )
        if dry_run:
            return result
        made = {} if todo.is_settled else _run(todo, workers, address, console)
        pruned = prune(folder.location, keep) if keep is not None else None
    return RelabelResult(**{**vars(result), **made, "pruned": pruned})


@dataclass(frozen=True)
class RelabelPlan:
    """What a relabeling will do."""

    run: FinishedRun  # the last published version
    source: Source  # where the images are today
    inspection: Inspection  # of today's images
    changes: Changes
    unseen: float  # share of today's images that the networks were not trained on
    retrain_share: float
    reasons: tuple[str, ...]  # why the networks are trained again; empty if they are not
    plan: Plan
    reused: Reused | None  # None: no row is reused
    failed: int  # images that have not changed but failed before; they are tried again

    @property
    def is_settled(self) -> bool:
        """Whether the last version is up to date: a new one would be the same."""
        return self.plan.names == self.run.version.stages

    def computed(self, stage: str) -> int:
        """How many images' rows a stage computes."""
        if self.is_settled:
            return 0
        kept = self.reused is not None and stage in self.reused.results
        return len(self.plan.table) - (self.reused.images - self.failed if self.reused is not None and kept else 0)

    @property
    def to_compute(self) -> int:
        """How many images get new labels."""
        return self.computed("labels")

    def lines(self) -> list[str]:
        """The plan for the terminal."""
        counts = self.changes.counts()
        kinds = ", ".join(f"{counts[kind]:,} {kind}" for kind in ("new", "changed", "retagged", "moved", "removed"))
        lines = [
            f"version {self.run.version.id} of {self.run.folder.location}, images of {self.source.folder}: "
            f"{len(self.plan.table):,} images, {counts['same']:,} unchanged, {kinds}"
        ]
        if self.is_settled:
            if self.plan.config != self.run.config:
                lines.append("the changed knobs concern no stage of labeling: `train` and `label` take them")
            return [*lines, "nothing to compute: the version is up to date"]
        if self.reasons:
            lines.append(f"all networks are trained again: {'; '.join(self.reasons)}")
        else:
            lines.append(
                f"networks of version {self.run.version.base.id} are kept: {100 * self.unseen:.1f} % of the images are "
                f"new since their training, and only more than {100 * self.retrain_share:.4g} % would train them again"
            )
            remade = [name for name in PER_IMAGE if self.reused is None or name not in self.reused.results]
            if remade:
                lines.append(f"no row of {' or '.join(remade)} is reused: another release or knob made them")
        again = f", {self.failed:,} of them because they failed before" if self.failed else ""
        seeds, labels = self.computed("seeds"), self.computed("labels")
        total = len(self.plan.table)
        what = f"seeds and labels of {labels:,}" if seeds == labels else f"seeds of {seeds:,} and labels of {labels:,}"
        kept = f"{total - labels:,}" if seeds == labels else f"{total - seeds:,} seeds and {total - labels:,} labels"
        lines.append(f"{what} images are computed{again}; {kept} are reused")
        return lines


def plan_relabel(
    out: Folder,
    data: str | Path | None,
    retrain: bool,
    retrain_share: float,
    settings: Sequence[str] = (),
    images: str | Path | None = None,
    separator: str | None = None,
    classes: str | Path | None = None,
    synonyms: str | Path | None = None,
    accept: Sequence[str] = (),
) -> RelabelPlan:
    """Compare today's images with the last version's and plan what to do. Writes nothing. Raises UserError."""
    run = FinishedRun.open(out.location)
    if run.version.student is not None:
        raise UserError(f"{out.location} holds a student's predictions: run `irnet-ray predict` again instead.")
    source, shard_count = _source(run, data, images, separator), run.version.shard_count
    accepted = tuple(dict.fromkeys([*source.accepted, *accept]))
    source = replace(source, classes=read_classes(classes, synonyms, source.classes), accepted=accepted)
    reading = read(source.folder, shard_count, source.limit, source.images, source.separator, source.classes)
    today = reading.table
    changes = compare(_images(run, "images"), today)
    trained_on = "trained_images" if "trained_images" in run.version.stages else "images"
    unseen = compare(_images(run, trained_on), today).unseen / len(today)
    base, recorded = run.version.base, run.config.model_dump(mode="json")
    config = load_config(None, {}, base=recorded, settings=settings)
    listed = source.classes.names
    reasons = _reasons(Plan(out, config, today, shard_count, base, listed), base, retrain, unseen, retrain_share)
    inspection = inspected(source.folder, reading, training=bool(reasons) and not config.classifier.pretrained)
    plan = Plan(out, config, today, shard_count, None if reasons else base, listed)
    plan.check_usable(source.folder)
    reused, failed = _reusable(plan, run, changes)
    return RelabelPlan(run, source, inspection, changes, unseen, retrain_share, reasons, plan, reused, failed)


def _source(
    run: FinishedRun, data: str | Path | None, images: str | Path | None = None, separator: str | None = None
) -> Source:
    """Where the images are: what is given, and otherwise where those of the last version are."""
    known = run.version.data
    if data is not None:
        limit, classes, accepted = (known.limit, known.classes, known.accepted) if known else (None, Classes(), ())
        known = Source(absolute(data), limit, classes=classes, accepted=accepted)
    if known is None:
        raise UserError(f"Version {run.version.id} does not say where its images are: name them with --data.")
    return replace(
        known,
        images=absolute(images) if images is not None else known.images,
        separator=separator if separator is not None else known.separator,
    )


def _whole(run: FinishedRun, stage: str) -> Shards:
    """A version's table. Raises UserError if parts of it are gone."""
    shards = run.shards(stage)
    if {shards.part(shard) for shard in range(shards.count)} - set(shards.rows.files()):
        raise UserError(f"{shards.folder.location} is not whole any more: run `irnet-ray label` again.")
    return shards


def _images(run: FinishedRun, stage: str) -> pa.Table:
    shards = _whole(run, stage)
    return shards.table()


def _reasons(plan: Plan, base: Version, retrain: bool, unseen: float, most: float) -> tuple[str, ...]:
    """Why all networks must be trained again; empty if the existing ones can be used."""
    reasons = ["asked for"] if retrain else []
    unknown = sorted(set(tables.vocabulary(plan.table)) - set(plan.vocabulary))
    if unknown:
        reasons.append(f"new tags: {names([printable(tag) for tag in unknown], 5)}")
    if plan.classes and list(plan.classes) != plan.vocabulary:
        reasons.append("another list of classes")
    if unseen > most:
        reasons.append(f"{100 * unseen:.1f} % of the images are new to the networks, more than {100 * most:.4g} %")
    otherwise = other_knobs(base, plan.config)
    if otherwise:
        reasons.append(f"other knobs of {', '.join(otherwise)}")
    learned = [stage for stage in plan.order if not stage.per_image and not plan.is_done(stage)]
    before = {stage.name for stage in wanted(recorded_config(base.config))}
    gone = [plan.names[stage.name] for stage in learned if stage.name in before]
    if gone:
        reasons.append(f"{', '.join(gone)} is gone")
    fresh = [stage.name for stage in learned if stage.name not in before]
    if fresh:
        reasons.append(f"the seed method {plan.config.seeds.method} needs {', '.join(fresh)}")
    return tuple(reasons)


def _reusable(plan: Plan, run: FinishedRun, changes: Changes) -> tuple[Reused | None, int]:
    """The rows that today's plan can reuse from the last version, and how many of their images failed there."""
    tables_of = {name: _whole(run, name) for name in PER_IMAGE}
    if plan.base is None:
        return None, 0
    # One set of weights, config and code made all rows of a version.
    revisions = {name: run.version.revision(name) for name in STAGES}
    base, config = run.version.base, run.config
    same = {name: maker(base, revisions, config, name) == plan.maker(name) for name in PER_IMAGE}
    same["labels"] = run.version.made_by == plan.made_by  # the rows carry it
    results = {name: shards for name, shards in tables_of.items() if same[name]}
    if not results:
        return None, 0
    uris: dict[int, dict[str, str]] = {}
    for image_id, uri in zip(*(plan.table[name].to_pylist() for name in ("image_id", "uri")), strict=True):
        if image_id in changes.standing:
            uris.setdefault(tables.shard_of(image_id, plan.shard_count), {})[image_id] = uri
    errors = tables_of["labels"].errors
    failed = (image_id for name in errors.files() for image_id in errors.read_table(name)["image_id"].to_pylist())
    return Reused(results, uris), sum(image_id in changes.standing for image_id in failed)


def _run(todo: RelabelPlan, workers: int | None, address: str | None, console: Console) -> dict[str, Any]:
    """Compute, and publish; returns the figures of the result."""
    plan, reused = todo.plan, todo.reused
    plan.out.write_json("config.json", plan.config.model_dump(mode="json"))
    drift: dict[str, Any] = {}

    def compare_labels() -> None:
        # Before the version is published: after an interruption in between, the same call still reports the drift.
        kept = reused.uris if reused is not None and "labels" in reused.results else {}
        drift.update(
            {
                "from": todo.run.version.id,
                "to": plan.version,
                "learnt_anew": list(todo.reasons),
                "folder": todo.changes.counts(),
                **measure(todo.run.shards("labels"), plan.shards("labels"), kept),
            }
        )
        plan.out.write_json(DRIFT, drift)

    reading = todo.inspection.reading
    account, ids = reading.account.to_json(), reading.category_ids
    report = run_plan(plan, todo.source, workers, address, console, reused, compare_labels, account, ids)
    for line in named(drift_lines(drift), todo.plan.class_names):
        console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)
    return {
        "labels": report["labels"],
        "errors": report["errors"],
        "instances": report["overall"]["instances"],
        "drift": drift,
    }
