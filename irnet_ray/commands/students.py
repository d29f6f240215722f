"""Train students on a run's labels, and predict with them: the verbs `train` and `predict`."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from irnet_ray._version import __version__
from irnet_ray.config.load import Config, load_config, merge
from irnet_ray.errors import UserError
from irnet_ray.evaluation.truth import load_truth
from irnet_ray.inputs.folder import read_images
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.lock import hold
from irnet_ray.runs.records import begin, publish
from irnet_ray.runs.run import FinishedRun, current, writable
from irnet_ray.runs.shards import Shards, fingerprint
from irnet_ray.runs.version import Version
from irnet_ray.stages.label_rows import LabelRows
from irnet_ray.stages.students import KINDS, RECORD, Student

MODELS = "models"


@dataclass(frozen=True)
class TrainResult:
    """A trained student: where it lies, on how many images it learnt, and its last losses."""

    model: str
    images: int
    iterations: int
    losses: dict[str, float]


@dataclass(frozen=True)
class PredictResult:
    """What a prediction run holds: `images = predictions + errors`."""

    out: str
    images: int
    predictions: int
    errors: int
    version: str


def train(
    kind: str,
    labels: str | Path,
    *,
    config: str | Path | None = None,
    knobs: dict[str, Any] | None = None,
    settings: Sequence[str] = (),
    hold_out: str | Path | None = None,
    workers: int | None = None,
    address: str | None = None,
    console: Console | None = None,
) -> TrainResult:
    """Train a student on the labels of a finished run; run again, it goes on where it was interrupted.

    Args:
        kind: `mask-rcnn` or `deeplab`.
        labels: the run directory, or its folder `labels`.
        config: YAML or JSON file of knobs, over the run's own.
        knobs: of the student's section, over both; those that are None count as not given.
        settings: single knobs, such as `deeplab.crop=256`, over all others.
        hold_out: a COCO JSON file whose images are left out, so that they can judge the student.
        workers: training workers; None for one per GPU, or per core where there is none.
        address: a Ray cluster; None for `RAY_ADDRESS`, else a local Ray for this call.
        console: where progress goes.

    Raises:
        UserError: bad input, said in one sentence, before anything is computed.
    """
    console = console or Console()
    if kind not in KINDS:
        raise UserError(f"No student {kind!r}: there is {' and '.join(KINDS)}.")
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}.")
    run = FinishedRun.open(labels)
    student = Student(kind, student_config(run, kind, config, knobs, settings), tuple(run.vocabulary), run.version.id)
    held_out = frozenset(load_truth(Path(hold_out)).images) if hold_out is not None else frozenset[str]()
    training = Training.on_labels(run, student, held_out)
    if training.is_done:
        console.print(f"{kind}: done already, nothing is computed", highlight=False)
        return training.result()
    training.check()
    from irnet_ray.engine.session import session

    with hold(run.folder), session(address) as devices:
        devices.check(workers, only_training=True)
        training.run(devices, workers, console)
        return training.result()


def student_config(
    run: FinishedRun,
    kind: str,
    config: str | Path | None = None,
    knobs: dict[str, Any] | None = None,
    settings: Sequence[str] = (),
) -> Config:
    """The config of a student: that of the run it learns from, a file's and single knobs over it."""
    section = kind.replace("-", "_")
    # A run of an older version knows nothing of students: what is not in its config are the backbone's defaults.
    base = load_config(None, {"backbone": run.config.backbone}).model_dump(mode="json")
    file = Path(config) if config else None
    return load_config(file, {section: knobs or {}}, base=merge(base, run.version.config), settings=settings)


@dataclass(frozen=True)
class Training:
    """A student's training on some labels, and the folder that its weights belong into."""

    student: Student
    rows: LabelRows
    folder: Folder
    link: str | None = None  # of a local folder, that people find the model by

    @staticmethod
    def on_labels(run: FinishedRun, student: Student, held_out: frozenset[str]) -> Training:
        """The training on the labels of a finished run without the images `held_out`."""
        labels, out = run.shards("labels"), run.folder
        rows = LabelRows.of(student.knobs, labels.rows, labels.rows.files(), held_out)
        name = f"{student.kind}-{student.fingerprint(sorted(held_out))}"
        link = f"{out.local_path}/{MODELS}/{student.kind}" if out.is_local else None
        return Training(student, rows, out.folder("stages", name), link)

    @property
    def is_done(self) -> bool:
        """Whether the student is trained."""
        return self.folder.exists(RECORD)

    def check(self) -> None:
        """Build the network and load its ImageNet weights before Ray starts. Raises UserError if that fails."""
        if not self.rows.count():
            raise UserError(
                f"Not one label in {self.rows.folder.location} is left to train {self.student.kind} on: hold out fewer "
                "images, or lower min_score and min_quality."
            )
        try:
            _task(self.student, self.rows)
        except (OSError, ValueError, ModuleNotFoundError) as error:
            raise UserError(str(error)) from error

    def run(self, devices: Any, workers: int | None, console: Console) -> None:
        """Train to the end, or go on with it."""
        from irnet_ray.engine.training import run_training

        images, start = self.rows.count(), time.monotonic()
        stage = _stage(self.student, self.rows, images)
        console.print(
            f"{self.student.kind}: {stage.schedule.iterations} iterations on {images} images, backbone "
            f"{self.student.backbone.name}, in {self.folder.location}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
        terms = run_training(stage, self.folder, devices, workers)
        seconds = round(time.monotonic() - start)
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in terms.items())
        self.folder.write_json("done.json", {"seconds": seconds, "summary": shown, "images": images})
        self.student.save(self.folder)
        console.print(
            f"{self.student.kind}: {shown}, {seconds // 60}:{seconds % 60:02d} min", highlight=False, soft_wrap=True
        )

    def result(self) -> TrainResult:
        """What the finished training holds; it becomes the run's model of its kind."""
        if self.link is not None:
            os.makedirs(os.path.dirname(self.link), exist_ok=True)
            temporary = f"{self.link}.{uuid.uuid4().hex}.tmp"
            os.symlink(os.path.relpath(self.folder.local_path, os.path.dirname(self.link)), temporary)
            os.replace(temporary, self.link)
        history = self.folder.read_json("history.json")
        images = self.folder.read_json("done.json")["images"]
        last = history[-1]
        return TrainResult(self.link or self.folder.location, images, last["iteration"], dict(last["losses"]))


def predict(
    model: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    shards: int = 4,
    limit: int | None = None,
    workers: int | None = None,
    address: str | None = None,
    console: Console | None = None,
) -> PredictResult:
    """Predict with a trained student; what an earlier run has done is not done again.

    Args:
        model: folder of a trained student, such as `OUT/models/mask-rcnn`.
        data: folder of images; tags are not needed, and teach nothing where they are.
        out: the run directory, with the labels' tables.
        shards, limit, workers, address, console: as for `label`.

    Raises:
        UserError: bad input, said in one sentence, before anything is computed.
    """
    console = console or Console()
    for name, number in (("workers", workers), ("shards", shards), ("limit", limit)):
        if number is not None and number < 1:
            raise UserError(f"--{name} must be at least 1, got {number}.")
    trained = Folder(str(model))
    student = Student.load(trained)
    folder = writable(out)
    with hold(folder):
        known = current(folder)
        if known is not None and known.student is None:
            raise UserError(f"{folder.location} holds labels of a labeling run: predict into another folder.")
        prediction = Prediction(folder, student, trained, read_images(data, shards, limit), shards)
        return _predict(prediction, workers, address, console)


def _predict(prediction: Prediction, workers: int | None, address: str | None, console: Console) -> PredictResult:
    student, images, todo = prediction.student, len(prediction.table), prediction.left
    console.print(
        f"{images} images, {student.kind} of {len(student.vocabulary)} classes, {prediction.shard_count} shards, "
        f"{images - todo} predicted already",
        highlight=False,
        soft_wrap=True,
    )
    if not prediction.is_done:
        from irnet_ray.engine.session import session

        with session(address) as devices:
            devices.check(workers)
            begin(prediction.out, prediction.version)
            prediction.run(devices, workers)
    return prediction.publish()


@dataclass(frozen=True)
class Prediction:
    """A student's predictions for a table of images, and where they belong."""

    out: Folder
    student: Student
    model: Folder
    table: pa.Table  # of tables.IMAGES
    shard_count: int

    @property
    def names(self) -> dict[str, str]:
        """Folder name of each table."""
        rows = self.table.select(["image_id", "uri", "content"]).to_pylist()
        images = fingerprint([list(row.values()) for row in rows], self.shard_count)
        weights = hashlib.blake2b(self.model.read("weights.safetensors"), digest_size=16).hexdigest()
        config = self.student.config.model_dump(exclude={"image_seconds"})  # which changes no result
        made = fingerprint("predict", __version__, images, weights, config)
        return {"images": f"images-{images}", "labels": f"labels-{made}"}

    def shards(self, stage: str) -> Shards:
        """One of the tables."""
        return Shards(self.out.folder("stages", self.names[stage]), self.shard_count)

    @property
    def ids_by_shard(self) -> dict[int, list[str]]:
        """Sorted image ids of each shard that has any."""
        found: dict[int, list[str]] = {}
        for image_id, shard in zip(*(self.table[name].to_pylist() for name in ("image_id", "shard")), strict=True):
            found.setdefault(shard, []).append(image_id)
        return {shard: sorted(ids) for shard, ids in found.items()}

    @property
    def is_done(self) -> bool:
        """Whether every image has its row."""
        return len(self.shards("labels").sealed()) == self.shard_count

    @property
    def left(self) -> int:
        """How many images have no row yet."""
        labels = self.shards("labels")
        sealed = labels.sealed()
        return sum(len(labels.missing(shard, ids)) for shard, ids in self.ids_by_shard.items() if shard not in sealed)

    def run(self, devices: Any, workers: int | None) -> None:
        """Predict what is left."""
        from irnet_ray.engine.mapping import run_map
        from irnet_ray.stages import predictions

        images, labels = self.shards("images"), self.shards("labels")
        for shard in set(range(self.shard_count)) - images.sealed(errors=False):
            images.rows.write_table(images.part(shard), self.table.filter(pc.equal(self.table["shard"], shard)))
        mark = self.names["labels"].removeprefix("labels-")
        stage = predictions.stage(self.student, self.model, images, mark)
        unit, seconds = self.student.config.unit_size, self.student.config.image_seconds
        run_map(stage, labels.folder, self.ids_by_shard, self.shard_count, unit, devices, workers, seconds)

    @property
    def version(self) -> Version:
        """What `current.json` will hold, but for the counts of what is made."""
        names = self.names
        content = {
            "version": names["labels"].removeprefix("labels-"),
            "stages": names,
            "shards": self.shard_count,
            "vocabulary": list(self.student.vocabulary),
            "images": len(self.table),
            "config": self.student.config.model_dump(mode="json"),
            "student": {"kind": self.student.kind, "labels": self.student.labels, "model": self.model.location},
        }
        return Version(content)

    def publish(self) -> PredictResult:
        """Point readers at the finished predictions."""
        rows, errors = self.shards("labels").counts()
        if rows + errors != len(self.table):
            raise RuntimeError(f"{rows} predictions and {errors} errors are not {len(self.table)} images.")
        publish(self.out, self.version.with_entries(labels=rows, errors=errors))
        return PredictResult(
            self.out.location, len(self.table), rows, errors, self.names["labels"].removeprefix("labels-")
        )


def _stage(student: Student, rows: LabelRows, images: int) -> Any:
    from irnet_ray.stages import deeplab, mask_rcnn

    return (mask_rcnn if student.kind == "mask-rcnn" else deeplab).stage(student, rows, images)


def _task(student: Student, rows: LabelRows) -> Any:
    from irnet_ray.stages.deeplab import DeepLabTask
    from irnet_ray.stages.mask_rcnn import MaskRCNNTask

    return (MaskRCNNTask if student.kind == "mask-rcnn" else DeepLabTask)(student, rows)
