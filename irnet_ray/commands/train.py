"""Train a student on a run's labels."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from irnet_ray.config.load import Config, load_config, merge
from irnet_ray.errors import UserError
from irnet_ray.evaluation.truth import load_truth
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.lock import hold
from irnet_ray.runs.run import FinishedRun
from irnet_ray.stages.label_rows import LabelRows
from irnet_ray.stages.student_kind import Kind
from irnet_ray.stages.student_kinds import find_kind
from irnet_ray.stages.students import RECORD, Student

if TYPE_CHECKING:
    from irnet_ray.engine.task import TrainStage

MODELS = "models"


@dataclass(frozen=True)
class TrainResult:
    """A trained student: its folder, the number of images it was trained on, and its last losses."""

    model: str
    images: int
    iterations: int
    losses: dict[str, float]


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
    """Train a student on the labels of a finished run. The same call continues an interrupted training.

    Args:
        kind: a name in `student_kinds.KINDS`, such as `mask-rcnn` or `deeplab`.
        labels: the run directory, or its folder `labels`.
        config: YAML or JSON file of knobs; overrides the run's config.
        knobs: of the student's section; override the file. None counts as not given.
        settings: single knobs, such as `deeplab.crop=256`; they override all others.
        hold_out: a COCO JSON file whose images are not trained on, so that they can be used to evaluate the student.
        workers: training workers; None for one per GPU, or per core without one.
        address: a Ray cluster; None for `RAY_ADDRESS`, else a local Ray for this call.
        console: where the progress goes.

    Raises:
        UserError: bad input, reported in one sentence before anything is computed.
    """
    console = console or Console()
    chosen = find_kind(kind)
    if workers is not None and workers < 1:
        raise UserError(f"--workers must be at least 1, got {workers}.")
    run = FinishedRun.open(labels)
    student = Student(
        chosen,
        student_config(run, chosen, config, knobs, settings),
        tuple(run.vocabulary),
        run.version.id,
        run.version.synonyms,
    )
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
    kind: Kind,
    config: str | Path | None = None,
    knobs: dict[str, Any] | None = None,
    settings: Sequence[str] = (),
) -> Config:
    """The config of a student: the run's config, overridden by the file, then the knobs, then the settings."""
    # The config of an older run may lack sections of students; the backbone's defaults fill them in.
    base = load_config(None, {"backbone": run.config.backbone}).model_dump(mode="json")
    file = Path(config) if config else None
    return load_config(file, {kind.section: knobs or {}}, base=merge(base, run.version.config), settings=settings)


@dataclass(frozen=True)
class Training:
    """A student's training on some labels, and the folder of its weights."""

    student: Student
    rows: LabelRows
    folder: Folder
    link: str | None = None  # path of the link by which people find the model; None in an object store

    @staticmethod
    def on_labels(run: FinishedRun, student: Student, held_out: frozenset[str]) -> Training:
        """The training on the labels of a finished run without the images `held_out`."""
        labels, out = run.shards("labels"), run.folder
        rows = LabelRows.of(student.knobs, labels.rows, labels.rows.files(), held_out)
        name = f"{student.kind.name}-{student.fingerprint(sorted(held_out))}"
        link = f"{out.local_path}/{MODELS}/{student.kind.name}" if out.is_local else None
        return Training(student, rows, out.folder("stages", name), link)

    @property
    def is_done(self) -> bool:
        """Whether the student is trained."""
        return self.folder.exists(RECORD)

    def check(self) -> None:
        """Build the network and load its ImageNet weights before Ray starts. Raises UserError if that fails."""
        if not self.rows.count():
            raise UserError(
                f"No label in {self.rows.folder.location} is left to train {self.student.kind.name} on: hold out "
                "fewer images, or lower min_score and min_quality."
            )
        try:
            self._stage(self.rows.count()).build()
        except (OSError, ValueError, ModuleNotFoundError) as error:
            raise UserError(str(error)) from error

    def _stage(self, images: int) -> TrainStage:
        return self.student.kind.stage(self.student, self.rows, images)

    def run(self, devices: Any, workers: int | None, console: Console) -> None:
        """Train, or continue an interrupted training."""
        from irnet_ray.engine.training import run_training

        images, start = self.rows.count(), time.monotonic()
        stage = self._stage(images)
        console.print(
            f"{self.student.kind.name}: {stage.schedule.iterations} iterations on {images} images, backbone "
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
            f"{self.student.kind.name}: {shown}, {seconds // 60}:{seconds % 60:02d} min",
            highlight=False,
            soft_wrap=True,
        )

    def result(self) -> TrainResult:
        """The outcome of the finished training. Links the run's model of this kind to it."""
        if self.link is not None:
            os.makedirs(os.path.dirname(self.link), exist_ok=True)
            temporary = f"{self.link}.{uuid.uuid4().hex}.tmp"
            os.symlink(os.path.relpath(self.folder.local_path, os.path.dirname(self.link)), temporary)
            os.replace(temporary, self.link)
        history = self.folder.read_json("history.json")
        images = self.folder.read_json("done.json")["images"]
        last = history[-1]
        return TrainResult(self.link or self.folder.location, images, last["iteration"], dict(last["losses"]))
