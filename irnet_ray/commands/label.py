"""Label images: train what is missing, then write masks for every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from irnet_ray.commands.defaults import OUT, SHARDS
from irnet_ray.commands.inspect import inspected, print_lines
from irnet_ray.commands.pipeline import relabel_hint, run_plan
from irnet_ray.commands.plan import Plan
from irnet_ray.commands.train import train
from irnet_ray.config.load import load_config
from irnet_ray.errors import UserError
from irnet_ray.inputs.classes_file import read_classes
from irnet_ray.inputs.folder import read
from irnet_ray.runs.lock import hold
from irnet_ray.runs.run import writable
from irnet_ray.runs.version import Source
from irnet_ray.scenes.generate import generate
from irnet_ray.stages.student_kinds import find_kind
from irnet_ray.storage.locations import absolute, is_uri

SCENES = "scenes"


@dataclass(frozen=True)
class LabelResult:
    """The outcome of a labeling run: `images = labels + errors`."""

    out: str
    version: str
    images: int
    labels: int
    errors: int
    instances: int
    truth: str | None  # of generated scenes
    report: dict[str, Any]  # the content of OUT/report.json
    models: tuple[str, ...] = ()  # folders of the students, in order


def label(
    data: str | Path | None = None,
    out: str | Path = OUT,
    *,
    shards: int = SHARDS,
    backbone: str | None = None,
    weights: str | None = None,
    config: str | Path | None = None,
    settings: Sequence[str] = (),
    seeds: str | None = None,
    classifier: str | None = None,
    preset: str | None = None,
    window: tuple[float, float] | None = None,
    workers: int | None = None,
    limit: int | None = None,
    images: str | Path | None = None,
    separator: str | None = None,
    classes: str | Path | None = None,
    synonyms: str | Path | None = None,
    accept: Sequence[str] = (),
    then: Sequence[str] = (),
    address: str | None = None,
    console: Console | None = None,
) -> LabelResult:
    """Label every image of `data` from its tags alone. Work that an earlier run finished is not repeated.

    Args:
        data: a folder of images with `tags.csv`, or another input of docs/inputs.md; None for generated scenes.
        out: the run directory.
        shards: Parquet files per table.
        backbone: a name in `networks.backbones.BACKBONES`; overrides the config file.
        weights: path of the backbone's ImageNet weights; overrides the config file.
        config: YAML or JSON file of knobs.
        settings: single knobs, such as `labels.background=0.3`; they override all others.
        seeds: how to make seeds, a name in `algorithms.seed_methods.METHODS`; overrides the config file.
        classifier: `pretrained` for the backbone's own ImageNet classifier; all tags must be its classes.
        preset: `paper` for the published pipeline; the config file overrides it.
        window: the sample values that become black and white in images of more than 8 bits; overrides the config file.
        workers: training workers and network actors; None for all GPUs, or for a network actor per core without one.
        limit: label only this many images, drawn evenly by a hash of their ids.
        images: the folder of the images, if they are not beside their tags.
        separator: what separates tags in a cell; `none` if each cell is one tag; None to find it out.
        classes: a file with the names of all classes in the order of their numbers; see `inputs.classes_file`.
        synonyms: a file with other spellings of classes.
        accept: names of suspicions to ignore; see `inputs.suspicions`.
        then: names of students to train on the labels, in order, such as `mask-rcnn`.
        address: a Ray cluster; None for `RAY_ADDRESS`, else a local Ray for this call.
        console: where the plan and the progress go.

    Raises:
        UserError: bad input, reported in one sentence before anything is computed.
    """
    console = console or Console()
    if classifier not in (None, "pretrained"):
        raise UserError(f"No classifier {classifier!r}: give pretrained, or leave --classifier out to train one.")
    pretrained = {"pretrained": True if classifier else None}
    overrides = {
        "backbone": backbone,
        "weights": weights,
        "classifier": pretrained,
        "seeds": {"method": seeds},
        "window": window,
    }
    knobs = load_config(Path(config) if config else None, overrides, data is None, preset, settings=settings)
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}.")
    if shards < 1:
        raise UserError(f"--shards must be at least 1, got {shards}.")
    for kind in then:
        find_kind(kind)
    listed = read_classes(classes, synonyms)
    if data is None and is_uri(str(out)):
        raise UserError(f"Generated scenes need a local --out, but {out} is in an object store: name images by --data.")
    folder = writable(out)
    truth = None
    with hold(folder):
        if data is None:
            console.print(
                f"No --data: labeling generated scenes, in {folder.local_path}/{SCENES}.",
                highlight=False,
                soft_wrap=True,
                markup=False,
            )
            data = generate(Path(folder.local_path) / SCENES)
            truth = str(Path(data) / "truth.json")
        reading = read(data, shards, limit, images, separator, listed)
        inspection = inspected(data, reading, training=not knobs.classifier.pretrained)
        print_lines(console, inspection.lines())
        inspection.check(accept)
        plan = Plan(folder, knobs, reading.table, shards, classes=listed.names)
        plan.check_usable(str(data))
        plan.check_learnable(str(data))
        folder.write_json("config.json", knobs.model_dump(mode="json"))
        hint = relabel_hint(plan)
        if hint is not None:
            console.print(hint, highlight=False, soft_wrap=True, markup=False)
        source = Source(absolute(data), limit, absolute(images) if images else None, separator, listed, tuple(accept))
        account, ids = reading.account.to_json(), reading.category_ids
        report = run_plan(plan, source, workers, address, console, account=account, category_ids=ids)
        # The run's config holds what the file and the single knobs say: given again, the file would win over options.
        students = [train(kind, out, workers=workers, address=address, console=console) for kind in then]
    counts = (report["images"], report["labels"], report["errors"], report["overall"]["instances"])
    models = tuple(student.model for student in students)
    return LabelResult(folder.location, plan.version, *counts, truth, report, models)
