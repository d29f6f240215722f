"""The stages of labeling, said once: what each reads, what its answer depends on, how it is built, in order.

Order, fingerprints, dispatch, plan, `status` and the report read this table. Importing it does not import torch or Ray.

A stage's folder is named by its fingerprint, which covers its own knobs, its own revision, and the stages it follows.
The version of the package does not count: an upgrade recomputes the stages whose revision it raises, and those after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from irnet_ray.algorithms.seed_methods import METHODS
from irnet_ray.config.load import Config
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards, fingerprint
from irnet_ray.runs.version import ORIGIN

if TYPE_CHECKING:
    from irnet_ray.engine.steps import MapStage
    from irnet_ray.engine.task import TrainStage


class Inputs(Protocol):
    """What a stage is built from: a plan."""

    @property
    def config(self) -> Config:
        """The run's knobs."""

    @property
    def vocabulary(self) -> list[str]:
        """Names of the classes."""

    @property
    def made_by(self) -> str:
        """The `fingerprint` column of the labels."""

    def stage(self, name: str) -> Folder:
        """Folder of a stage's result."""

    def shards(self, stage: str) -> Shards:
        """Sharded result of a map stage, or of a table of inputs: `images`, `tags`."""

    def samples(self, table: str) -> int:
        """How many rows of a table a training can use. Raises UserError if there is none."""


@dataclass(frozen=True)
class Stage:
    """One row of the table."""

    name: str
    kind: Literal["map", "train"]
    # What to run: a stage of the engine, or a function that writes the weights and says what they are.
    build: Callable[[Inputs], MapStage | TrainStage | Callable[[Folder], str]]
    needs: tuple[str, ...] = ()  # stages that it reads
    # What its fingerprint covers: stages, and with them all that those cover; knobs by their dotted names, where
    # `common` stands for those of every stage; and of the data `content` (ids, tags, bytes), `images` (these and where
    # they lie) and `shards`.
    follows: tuple[str, ...] = ()
    knobs: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    rows: Literal["images", "tags"] = "images"  # the table of inputs that a map stage goes over
    per_image: bool = False  # a row follows from its own image and the networks, so it outlives the rest of its table
    revision: int = 1  # raise it when the answer to the same input changes; 1 is the answer of 0.5.4
    wanted: Callable[[Config], bool] = lambda config: True  # whether a config makes this stage

    @property
    def unit(self) -> str:
        """What its progress counts."""
        return "iterations" if self.kind == "train" else self.rows


def _classifier(inputs: Inputs) -> TrainStage | Callable[[Folder], str]:
    from irnet_ray.stages import classifier

    if inputs.config.classifier.pretrained:
        return classifier.take_pretrained(inputs.config, inputs.vocabulary)
    return classifier.stage(inputs.config, inputs.shards("images"), inputs.vocabulary, inputs.samples("images"))


def _prototypes(inputs: Inputs) -> MapStage:
    from irnet_ray.stages import prototypes

    return prototypes.stage(inputs.config, inputs.shards("tags"), inputs.vocabulary, inputs.stage("classifier"))


def _seeds(inputs: Inputs) -> MapStage:
    from irnet_ray.stages import seeds

    found = inputs.shards("prototypes") if METHODS[inputs.config.seeds.method].prototypes else None
    return seeds.stage(inputs.config, inputs.shards("images"), inputs.vocabulary, inputs.stage("classifier"), found)


def _irnet(inputs: Inputs) -> TrainStage:
    from irnet_ray.stages import irnet

    images, seeds = inputs.shards("images"), inputs.shards("seeds")
    return irnet.stage(inputs.config, images, seeds, inputs.stage("classifier"), inputs.samples("seeds"))


def _labels(inputs: Inputs) -> MapStage:
    from irnet_ray.stages import labels

    images, seeds = inputs.shards("images"), inputs.shards("seeds")
    return labels.stage(inputs.config, images, seeds, inputs.stage("irnet"), inputs.made_by)


STAGES = {
    stage.name: stage
    for stage in (
        Stage("classifier", "train", _classifier, knobs=("common", "classifier"), data=("content",)),
        Stage(
            "prototypes",
            "map",
            _prototypes,
            needs=("classifier",),
            follows=("classifier",),
            knobs=("seeds.prototypes", "seeds.prototype_images"),
            data=("shards",),
            rows="tags",
            wanted=lambda config: METHODS[config.seeds.method].prototypes,
        ),
        Stage(
            "seeds",
            "map",
            _seeds,
            needs=("classifier", "prototypes"),
            follows=("classifier",),
            knobs=("seeds",),  # those of the prototypes among them
            data=("shards",),
            per_image=True,
        ),
        Stage("irnet", "train", _irnet, needs=("classifier", "seeds"), follows=("seeds",), knobs=("irnet",)),
        Stage(
            "labels",
            "map",
            _labels,
            needs=("seeds", "irnet"),
            follows=("irnet",),
            knobs=("labels",),
            data=("images",),
            per_image=True,
        ),
    )
}


def wanted(config: Config) -> tuple[Stage, ...]:
    """The stages that a config makes, in order."""
    return tuple(stage for stage in STAGES.values() if stage.wanted(config))


def fingerprints(config: Config, weights: str, data: dict[str, Any]) -> dict[str, str]:
    """Fingerprint of every stage, also of those that the config does not make.

    Args:
        config: the run's knobs.
        weights: what tells the backbone's ImageNet weights from others.
        data: the fingerprints `content` and `images`, and `shards`, a number.
    """
    found: dict[str, str] = {}
    for stage in STAGES.values():
        knobs = knobs_of(stage, config, weights)
        parts = [*(found[name] for name in stage.follows), *knobs, *(data[name] for name in stage.data)]
        changed = [[name, STAGES[name].revision] for name in (*stage.needs, stage.name) if STAGES[name].revision > 1]
        found[stage.name] = fingerprint(stage.name, *parts, *([changed] if changed else []))
    return found


def knobs_of(stage: Stage, config: Config, weights: str | None) -> list[Any]:
    """The values of a stage's knobs."""
    # 0.5.4 had the package's version in first place. The same value there keeps its run directories valid.
    common = [ORIGIN, config.backbone, weights, config.seed, config.max_side, *window_of(config)]
    return [common if name == "common" else _knob(config, name) for name in stage.knobs]


def window_of(config: Config) -> list[Any]:
    """What stands for the window in a fingerprint: nothing where none is set, as before there was one."""
    return [] if config.window is None else [["window", *config.window]]


def _knob(config: Config, name: str) -> Any:
    """The value of a knob, or of all knobs of a section."""
    value: Any = config
    for key in name.split("."):
        value = getattr(value, key)
    return value.model_dump() if hasattr(value, "model_dump") else value


def revised(revision: int) -> Any:
    """What stands for a revision in the fingerprint of a stage outside this table: 0.5.4 had its own version there."""
    return ORIGIN if revision == 1 else revision
