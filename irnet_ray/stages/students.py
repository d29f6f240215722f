"""Students: networks trained on labels with full supervision (paper 6.3), and the files of a trained one.

<folder>/weights.safetensors      its weights
<folder>/model.json               its kind, config and vocabulary, and the labels it was trained on
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from irnet_ray._version import __version__
from irnet_ray.config.load import Config
from irnet_ray.config.sections import Student as StudentKnobs
from irnet_ray.engine.schedule import Schedule
from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import fingerprint
from irnet_ray.stages.graph import revised, window_of
from irnet_ray.stages.student_kind import Kind

RECORD = "model.json"


@dataclass(frozen=True)
class Student:
    """A student, trained or not: its kind, config and classes."""

    kind: Kind
    config: Config
    vocabulary: tuple[str, ...]  # names of its classes
    labels: str  # version of the labels it is trained on
    synonyms: Mapping[str, str] = field(default_factory=dict, compare=False)  # the run's, for truth spelt otherwise
    backbone: Backbone = field(init=False, compare=False)

    def __post_init__(self) -> None:
        # Looked up here: a worker process does not know rows that the calling process added to BACKBONES.
        object.__setattr__(self, "backbone", find_backbone(self.knobs.backbone or self.config.backbone))

    @property
    def knobs(self) -> StudentKnobs:
        """Its section of the config."""
        section: StudentKnobs = getattr(self.config, self.kind.section)
        return section

    @property
    def weights(self) -> str | None:
        """Path of its backbone's ImageNet weights. None for the published weights."""
        return self.knobs.weights or (None if self.knobs.backbone else self.config.weights)

    def schedule(self, images: int) -> Schedule:
        """The schedule of its training on a number of images."""
        knobs = self.knobs
        plan = Schedule.plan(
            images, knobs.epochs, knobs.min_iterations, knobs.batch_size, knobs.power, self.config.seed
        )
        return replace(plan, warmup=min(knobs.warmup, plan.iterations // 10))

    def trained_for(self, iterations: int) -> Student:
        """The same student, to be trained for at least this many iterations."""
        knobs = self.knobs.model_copy(update={"min_iterations": max(iterations, self.knobs.min_iterations)})
        return replace(self, config=self.config.model_copy(update={self.kind.section: knobs}))

    def fingerprint(self, *data: Any) -> str:
        """Changes with everything that the trained weights depend on. `data` identifies the training images."""
        # By its bytes, so that another file at the same path is another student.
        weights = self.weights
        if weights is not None and Path(weights).is_file():  # a missing one is refused when the student is built
            weights = hashlib.blake2b(Path(weights).read_bytes(), digest_size=16).hexdigest()
        config = [self.config.seed, self.config.max_side, self.backbone.name, weights, self.knobs.model_dump()]
        config += window_of(self.config)
        return fingerprint(
            self.kind.name, revised(self.kind.revision), config, list(self.vocabulary), self.labels, data
        )

    def save(self, folder: Folder) -> None:
        """Write the record beside the weights."""
        record = {
            "kind": self.kind.name,
            "config": self.config.model_dump(mode="json"),
            "vocabulary": list(self.vocabulary),
            "labels": self.labels,
            **({"synonyms": dict(self.synonyms)} if self.synonyms else {}),
            "made_by": f"irnet-ray {__version__}",
        }
        folder.write_json(RECORD, record)
