"""Choose the thresholds of a finished run on a few annotated images. No network is trained."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import shlex
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console

from irnet_ray import tables, text
from irnet_ray.commands.evaluate import classes_of, image_ids_of
from irnet_ray.config.load import Config
from irnet_ray.engine.progress import Reading, display
from irnet_ray.errors import UserError, printable, reason
from irnet_ray.evaluation.objectives import confident_objective, labels_objective
from irnet_ray.evaluation.search import Candidate, Choice, search
from irnet_ray.evaluation.truth import Truth, TruthImage, load_truth, semantic_map
from irnet_ray.evaluation.truth_classes import fit_truth
from irnet_ray.inputs.decode import ImageError, read_size
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.thresholds import Counts, Grid, measure
from irnet_ray.tables import Row

FOREGROUND = (0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50)
BACKGROUND = (0.02, 0.05, 0.10, 0.15, 0.20, 0.25)
LABELS = (0.10, 0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.45, 0.50)
MIN_IMAGES = 10  # two in each fold
MAX_PROCESSES = 16  # each holds torch and a network, about 1 GB


@dataclass(frozen=True)
class Knob:
    """A threshold: its values, and the objective in [0, 1] on images that the values were not chosen on.

    Thresholds that are chosen together have the same objective.
    """

    name: str
    own: float  # the run's value
    best: float  # the best value on all images
    chosen: float  # the best value, or the run's own if choosing gains nothing
    folds: tuple[float, ...]  # the best value without each fold
    before: float  # objective of the run's value
    after: float  # objective of the chosen values


@dataclass(frozen=True)
class Calibration:
    """The chosen thresholds, the config that holds them, and the command that labels with it."""

    knobs: list[Knob]
    images: int
    config: Path
    command: str
    notes: list[str]  # how classes of the truth were matched with the run's

    @property
    def changed(self) -> bool:
        """Whether any threshold differs from the run's."""
        return any(knob.chosen != knob.own for knob in self.knobs)

    def table(self) -> str:
        """One aligned line per knob, with objectives in percent, and remarks below."""
        rows = [("knob", "run", "chosen", "folds", "before", "after", "gain", "images")]
        for k in self.knobs:
            folds = f"{min(k.folds):g}-{max(k.folds):g}"
            figures = (f"{100 * k.before:.1f}", f"{100 * k.after:.1f}", f"{100 * (k.after - k.before):+.1f}")
            rows.append((k.name, f"{k.own:g}", f"{k.chosen:g}", folds, *figures, str(self.images)))
        lines = text.table(rows)
        lines += ["", "before and after: objective on images that the threshold was not chosen on, in percent."]
        lines += [
            f"{k.name} stays: {k.best:g} is best on these images, but choosing gains nothing on others."
            for k in self.knobs
            if k.chosen == k.own != k.best
        ]
        if any(k.chosen != k.own for k in self.knobs if k.name.startswith("seeds.")):
            lines.append("New seeds retrain IRNet: calibrate the new run once more for its labels.background.")
        lines += [f"note: {printable(note)}" for note in self.notes]
        return "\n".join(lines)


def calibrate(
    out: str | Path,
    truth: str | Path,
    to: str | Path | None = None,
    *,
    synonyms: str | Path | None = None,
    console: Console | None = None,
) -> Calibration:
    """Search the seeds' and the labels' thresholds on annotated images of a finished run, 20 to 50 of them.

    `seeds.foreground` and `seeds.background` are chosen together, by the precision and recall of the confident map
    (`objectives.confident_objective`: F-beta with beta 0.5, since wrong pairs teach IRNet wrong boundaries, while
    unsure pixels only cost recall). `labels.background` is chosen by the mean of AP50 and mIoU. The gain is
    cross-validated over five folds; if there is none, the run's own value stays. The run's attention maps and weights
    are used as they are, so `labels.background` suits the present IRNet.

    The work runs in processes that import the caller's main module: in a script, call this under
    `if __name__ == "__main__":`.

    Args:
        out: a run directory with a finished run.
        truth: COCO instances file; images are matched by file name, and those outside the run are ignored.
        to: YAML file to write, for `irnet-ray label --config`; None for `OUT/calibrated.yaml`. It holds every knob of
            the run; only the thresholds differ.
        synonyms: a file with other spellings of the run's classes; None for those that the run was made with.
        console: where the progress goes.

    Raises:
        UserError: no finished run, no such truth, fewer than 10 of its images in the run, images of other sizes or
            classes, or a file that cannot be written. Raised before anything is computed.
    """
    known = load_truth(Path(truth))
    run = FinishedRun.open(out)
    config = run.config
    if to is None and not run.folder.is_local:
        raise UserError(f"{out} is in an object store: name a local YAML file by --to.")
    known, notes = fit_truth(known, classes_of(run, synonyms), image_ids_of(run.shards("images")), str(truth))
    images = _annotated(run, known, truth)
    target = _target(Path(to) if to is not None else Path(out) / "calibrated.yaml")
    classes = sorted({i.class_name for _, image in images for i in image.instances if not i.crowd})
    grid = _grid(config, {name: number for number, name in enumerate(classes, start=1)})
    irnet = run.stage("irnet")
    measuring = functools.partial(measure, config, find_backbone(config.backbone), irnet, grid)
    counts = _measure_all(measuring, images, console or Console())
    seeds, labels = _choose(config, grid, counts)
    _write(target, config, seeds.chosen, labels.chosen, f"{len(images)} images of {truth}")
    knobs = [
        _knob("seeds.foreground", seeds, 0),
        _knob("seeds.background", seeds, 1),
        _knob("labels.background", labels, 0),
    ]
    words = ["irnet-ray", "label", "--config", target, "--data", _data(images[0][0]), "--out", out]
    command = shlex.join([*map(str, words), "--shards", str(run.version.shard_count)])
    return Calibration(knobs, len(images), target, command, notes)


def _choose(config: Config, grid: Grid, counts: Sequence[Counts]) -> tuple[Choice, Choice]:
    """The choice of the seeds' pair of thresholds, and of the labels'."""
    seeds = search(
        grid.seeds,
        (config.seeds.foreground, config.seeds.background),
        len(counts),
        lambda picked: confident_objective([counts[n].seeds[pair] for n, pair in picked.items()]),
    )
    labels = search(
        grid.labels,
        (config.labels.background,),
        len(counts),
        lambda picked: labels_objective([counts[n].labels[one] for n, one in picked.items()]),
    )
    return seeds, labels


def _knob(name: str, choice: Choice, place: int) -> Knob:
    folds = tuple(fold[place] for fold in choice.folds)
    own, best, chosen = (candidate[place] for candidate in (choice.own, choice.best, choice.chosen))
    return Knob(name, own, best, chosen, folds, choice.before, choice.after)


def _grid(config: Config, numbers: Mapping[str, int]) -> Grid:
    """The published range of each threshold, and the run's own value."""
    seeds = config.seeds
    pairs = itertools.product({*FOREGROUND, seeds.foreground}, {*BACKGROUND, seeds.background})
    return Grid(
        seeds=sorted(pair for pair in pairs if pair[1] < pair[0]),
        labels=sorted({(threshold,) for threshold in (*LABELS, config.labels.background)}),
        numbers=numbers,
    )


def _annotated(run: FinishedRun, truth: Truth, path: str | Path) -> list[tuple[Row, TruthImage]]:
    """The run's images with truth, sorted by id: rows of the images and seeds tables, joined. Raises UserError."""
    shards = {name: run.shards(name) for name in _TABLES}
    wanted = sorted(truth.images)
    rows = {name: _read(shards[name], wanted, columns) for name, columns in _TABLES.items()}
    common = [image_id for image_id in wanted if image_id in rows["labels"]]
    if not common:
        raise UserError(
            f"None of the {len(wanted)} file names of {path} (such as {wanted[0]}) is a labeled image of the run: "
            "name the truth of its images."
        )
    if len(common) < MIN_IMAGES:
        raise UserError(
            f"{path} and the run share {text.count(len(common), 'image')}: annotate at least {MIN_IMAGES}, "
            "better 20 to 50, for thresholds that suit the other images too."
        )
    images = [({**rows["images"][i], **rows["seeds"][i]}, truth.images[i]) for i in common]
    for row, image in images:
        _check(row, image)
    return images


_TABLES: dict[str, list[str] | None] = {"images": None, "seeds": None, "labels": ["image_id"]}


def _read(shards: Shards, ids: list[str], columns: list[str] | None) -> dict[str, Row]:
    """Rows of some images by their id."""
    names = {shards.part(tables.shard_of(image_id, shards.count)) for image_id in ids}
    return {
        row["image_id"]: row for name in names for row in shards.rows.read_table(name, columns, ids=ids).to_pylist()
    }


def _check(row: Row, image: TruthImage) -> None:
    """Raise UserError if the truth does not belong to this image, or the image is gone."""
    if (row["height"], row["width"]) != (image.height, image.width):
        raise UserError(
            f"{row['image_id']} has {row['width']} x {row['height']} pixels, and its truth {image.width} x "
            f"{image.height}: name the truth of these images."
        )
    if read_size(row["uri"]) is None:
        raise UserError(f"{row['uri']} cannot be read any more: put it back, or leave it out of the truth.")
    numbers = {instance.class_name: 1 for instance in image.instances}
    semantic_map(image.instances, numbers, (image.height, image.width))  # raises for masks that do not decode


def _target(path: Path) -> Path:
    """Return the path after checking that it is writable. Raises UserError."""
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"Cannot write {path}: {reason(error)}.") from error
    return path


def _measure_all(
    count: Callable[[Row, TruthImage], Counts], images: Sequence[tuple[Row, TruthImage]], console: Console
) -> list[Counts]:
    """Counts of every image, in order. Runs one process per core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    done = 0
    spawned = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    with (
        ProcessPoolExecutor(min(cores, len(images), MAX_PROCESSES), spawned, _start_process) as pool,
        display("calibrate", "images", lambda: Reading(done, len(images)), console),
    ):
        futures = [pool.submit(count, *image) for image in images]
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
        except ImageError as error:
            raise UserError(f"{error} Repair it, or leave it out of the truth.") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [future.result() for future in futures]


def _start_process() -> None:
    """Use one thread, since each core has its process. Ignore Ctrl-C: the waiting process handles it."""
    from irnet_ray.engine.cores import use_cores

    use_cores(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _write(path: Path, config: Config, seeds: Candidate, labels: Candidate, source: str) -> None:
    """Write the run's whole config with the chosen thresholds, so that labeling needs no other option."""
    chosen = config.model_copy(
        update={
            "seeds": config.seeds.model_copy(update={"foreground": seeds[0], "background": seeds[1]}),
            "labels": config.labels.model_copy(update={"background": labels[0]}),
        }
    )
    content = yaml.safe_dump(chosen.model_dump(mode="json"), sort_keys=False, default_flow_style=None)
    head = f"# Thresholds chosen by `irnet-ray calibrate` on {source}; every other knob is the run's."
    Folder(str(path.parent)).write(path.name, f"{head}\n{content}".encode())


def _data(row: Row) -> str:
    """The data folder that an image came from, judged by its path; `DATA` if that does not tell."""
    base = Path(row["uri"].removesuffix(row["image_id"]))
    for folder in (base, base.parent):
        if any((folder / name).is_file() for name in ("tags.csv", "tags.parquet")):
            return str(folder)
    return "DATA"
