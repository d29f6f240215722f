"""Predict masks with a trained student, in the tables of labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from irnet_ray.classes import Classes, fit, ids_of
from irnet_ray.commands.defaults import SHARDS
from irnet_ray.commands.inspect import account_lines, print_lines
from irnet_ray.errors import UserError, printable
from irnet_ray.evaluation.truth_classes import run_classes
from irnet_ray.inputs.depths import look
from irnet_ray.inputs.folder import read_images
from irnet_ray.networks.imagenet import names_of
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.lock import hold
from irnet_ray.runs.records import begin, publish
from irnet_ray.runs.run import WEIGHTS, current, writable
from irnet_ray.runs.shards import Shards, fingerprint
from irnet_ray.runs.version import Source, Version
from irnet_ray.stages.graph import revised
from irnet_ray.stages.student_kinds import load_student
from irnet_ray.stages.students import Student
from irnet_ray.storage.locations import absolute
from irnet_ray.text import names


@dataclass(frozen=True)
class PredictResult:
    """The outcome of a prediction run: `images = predictions + errors`."""

    out: str
    images: int
    predictions: int
    errors: int
    version: str


def predict(
    model: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    shards: int = SHARDS,
    limit: int | None = None,
    workers: int | None = None,
    address: str | None = None,
    console: Console | None = None,
) -> PredictResult:
    """Predict with a trained student. Work that an earlier run finished is not repeated.

    Args:
        model: folder of a trained student, such as `OUT/models/mask-rcnn`.
        data: folder of images; tags are not needed, and ignored if there are any.
        out: the run directory for the predictions, with the same tables as labels.
        shards, limit, workers, address, console: as for `label`.

    Raises:
        UserError: bad input, reported in one sentence before anything is computed.
    """
    console = console or Console()
    for name, number in (("workers", workers), ("shards", shards), ("limit", limit)):
        if number is not None and number < 1:
            raise UserError(f"--{name} must be at least 1, got {number}.")
    trained = Folder(str(model))
    student = load_student(trained)
    folder = writable(out)
    with hold(folder):
        known = current(folder)
        if known is not None and known.student is None:
            raise UserError(f"{folder.location} holds labels of a labeling run: predict into another folder.")
        reading = read_images(data, shards, limit)
        print_lines(console, account_lines(reading))
        classes = run_classes(student.vocabulary, names_of(student.vocabulary), student.synonyms)
        ids, guessed = ids_of(reading.category_ids, classes), fit(reading.category_ids, classes).guessed
        if guessed:
            shown = [f"{printable(name)} is {printable(own)}" for name, own in guessed.items()]
            print_lines(console, [f"note     categories taken for classes of the student: {names(shown, 5)}"])
        source = Source(absolute(data), limit, classes=Classes(synonyms=student.synonyms))
        prediction = Prediction(folder, student, trained, reading.table, shards, source, ids)
        return _predict(prediction, workers, address, console)


def _predict(prediction: Prediction, workers: int | None, address: str | None, console: Console) -> PredictResult:
    student, images, todo = prediction.student, len(prediction.table), prediction.left
    console.print(
        f"{images} images, {student.kind.name} of {len(student.vocabulary)} classes, {prediction.shard_count} shards, "
        f"{images - todo} predicted already",
        highlight=False,
        soft_wrap=True,
    )
    if not prediction.is_done:
        found = look(prediction.table, student.config.window)
        for line in found.lines():
            console.print(line, highlight=False, soft_wrap=True, markup=False)
        found.check()
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
    source: Source | None = None  # where the images came from
    category_ids: Mapping[str, Any] = field(default_factory=dict)  # COCO's own number of each class

    @cached_property
    def names(self) -> dict[str, str]:
        """Folder name of each table. Computed once, because it reads the weights and the whole images table."""
        rows = self.table.select(["image_id", "uri", "content"]).to_pylist()
        images = fingerprint([list(row.values()) for row in rows], self.shard_count)
        weights = hashlib.blake2b(self.model.read(WEIGHTS), digest_size=16).hexdigest()
        config = self.student.config.model_dump(exclude={"image_seconds"})  # a time limit changes no result
        if config["window"] is None:
            del config["window"]  # so that predictions older than this knob are found
        made = fingerprint("predict", revised(self.student.kind.revision), images, weights, config)
        return {"images": f"images-{images}", "labels": f"labels-{made}"}

    @property
    def mark(self) -> str:
        """Fingerprint of the predictions: their version id, and the `fingerprint` column of their rows."""
        return self.names["labels"].removeprefix("labels-")

    def shards(self, stage: str) -> Shards:
        """One of the tables."""
        return Shards(self.out.folder("stages", self.names[stage]), self.shard_count)

    @cached_property
    def ids_by_shard(self) -> dict[int, list[str]]:
        """Sorted image ids, for each shard that has any."""
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
        """Predict the images that have no row yet."""
        from irnet_ray.engine.mapping import run_map
        from irnet_ray.stages import predictions

        images, labels = self.shards("images"), self.shards("labels")
        for shard in set(range(self.shard_count)) - images.sealed(errors=False):
            images.rows.write_table(images.part(shard), self.table.filter(pc.equal(self.table["shard"], shard)))
        stage = predictions.stage(self.student, self.model, images, self.mark)
        unit, seconds = self.student.config.unit_size, self.student.config.image_seconds
        run_map(stage, labels.folder, self.ids_by_shard, self.shard_count, unit, devices, workers, seconds)

    @property
    def version(self) -> Version:
        """What `current.json` will hold, except for the counts of labels and errors."""
        content = {
            "version": self.mark,
            "stages": self.names,
            "shards": self.shard_count,
            "vocabulary": list(self.student.vocabulary),
            "images": len(self.table),
            "config": self.student.config.model_dump(mode="json"),
            "student": {"kind": self.student.kind.name, "labels": self.student.labels, "model": self.model.location},
        }
        if self.source is not None:
            content["data"] = self.source.to_json()
        if self.category_ids:
            content["category_ids"] = dict(self.category_ids)
        return Version(content)

    def publish(self) -> PredictResult:
        """Point readers at the finished predictions."""
        rows, errors = self.shards("labels").counts()
        if rows + errors != len(self.table):
            raise RuntimeError(f"{rows} predictions and {errors} errors are not {len(self.table)} images.")
        publish(self.out, self.version.with_entries(labels=rows, errors=errors))
        return PredictResult(self.out.location, len(self.table), rows, errors, self.mark)
