"""The stages of labeling in order: what each reads, what its result depends on, and how it is built.

Order, fingerprints, dispatch, plan, `status` and the report read this table. Importing it does not import torch or Ray.

A stage's folder is named by its fingerprint, which covers its own knobs, its own revision, and the stages it follows.
The version of the package does not count: an upgrade recomputes the stages whose revision it raises, and later stages.
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

# The classifier's loss is a mean over the classes, and its rates were set for 20. On photos, training diverges at these
# rates with one, two or three classes, and converges with five: fewer count as five. Releases up to 0.6.0 had no such
# limit, so it is part of the fingerprints of fewer classes only.
FEW_CLASSES = 5


class Inputs(Protocol):
    """What a stage is built from. A plan provides it."""

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
        """The number of rows of a table that a training can use. Raises UserError if there is none."""


@dataclass(frozen=True)
class Stage:
    """One row of the table."""

    name: str
    kind: Literal["map", "train"]
    # Returns a stage of the engine, or a function that writes the weights and returns what they are in a few words.
    build: Callable[[Inputs], MapStage | TrainStage | Callable[[Folder], str]]
    needs: tuple[str, ...] = ()  # stages whose results it reads
    # What its fingerprint covers:
    # - `follows`: stages, with everything that their fingerprints cover;
    # - `knobs`: dotted names, where `common` stands for the knobs of every stage;
    # - `data`: `content` (ids, tags, bytes), `images` (the same and the locations), `shards` (their number);
    #   `few_classes` is there only for fewer than `FEW_CLASSES`, `classes` only for a list that the user fixed.
    follows: tuple[str, ...] = ()
    knobs: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    rows: Literal["images", "tags"] = "images"  # the table whose rows a map stage processes
    per_image: bool = False  # a row depends on its own image and the networks only, so a later version may reuse it
    revision: int = 1  # raise it when the result for the same input changes; 1 is the result of 0.5.4
    wanted: Callable[[Config], bool] = lambda config: True  # whether the stage runs with a config

    @property
    def unit(self) -> str:
        """The unit in which its progress is counted."""
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
        Stage(
            "classifier",
            "train",
            _classifier,
            knobs=("common", "classifier"),
            data=("content", "few_classes", "classes"),
        ),
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
            knobs=("seeds",),  # includes the knobs of the prototypes
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
    """The stages that run with a config, in order."""
    return tuple(stage for stage in STAGES.values() if stage.wanted(config))


def fingerprints(config: Config, weights: str, data: dict[str, Any]) -> dict[str, str]:
    """Fingerprints of all stages, also of stages that do not run with this config.

    Args:
        config: the run's knobs.
        weights: identifies the backbone's ImageNet weights.
        data: the fingerprints `content` and `images`, `shards`, a number; `few_classes` and `classes` if they count.
    """
    found: dict[str, str] = {}
    for stage in STAGES.values():
        knobs = knobs_of(stage, config, weights)
        parts = [*(found[name] for name in stage.follows), *knobs, *(data[name] for name in stage.data if name in data)]
        changed = [[name, STAGES[name].revision] for name in (*stage.needs, stage.name) if STAGES[name].revision > 1]
        found[stage.name] = fingerprint(stage.name, *parts, *([changed] if changed else []))
    return found


def knobs_of(stage: Stage, config: Config, weights: str | None) -> list[Any]:
    """The values of a stage's knobs."""
    config = effective(config)
    # 0.5.4 had the package's version in first place. The same value there keeps its run directories valid.
    common = [ORIGIN, config.backbone, weights, config.seed, config.max_side, *window_of(config)]
    return [common if name == "common" else _knob(config, name) for name in stage.knobs]


def effective(config: Config) -> Config:
    """The config with defaults for knobs that its seed method does not read: they change no result."""
    if METHODS[config.seeds.method].prototypes:
        return config
    plain = {name: type(config.seeds).model_fields[name].default for name in ("prototypes", "prototype_images")}
    return config.model_copy(update={"seeds": config.seeds.model_copy(update=plain)})


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
    """The entry for a revision in the fingerprint of a stage outside this table. 0.5.4 wrote its own version there."""
    return ORIGIN if revision == 1 else revision
