"""Every knob of a run, with its default, unit and source. Unknown keys are refused.

A config file is YAML or JSON with the same sections; what it leaves out keeps its default. The defaults are the
paper's, but where measurement led elsewhere, which `PAPER` undoes; a small backbone on a laptop's processor starts from
`SMALL_BACKBONE` instead.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from irnet_ray.errors import UserError


def knob(default: Any, unit: str, source: str, meaning: str, **limits: Any) -> Any:
    """A field that knows its unit and where its default comes from; `limits` are pydantic's (`gt`, `le`, ...)."""
    return Field(default, description=meaning, json_schema_extra={"unit": unit, "source": source}, **limits)


class Section(BaseModel):
    """Strict about unknown keys and immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Limits = TypeVar("Limits", tuple[int, int], tuple[float, float])


def _ordered(limits: Limits) -> Limits:
    if not 0 < limits[0] <= limits[1]:
        raise ValueError("must be two numbers above 0, the smaller first")
    return limits


class Classifier(Section):
    """Training of the classification network (paper 3)."""

    epochs: int = knob(5, "epochs", "published code", "passes over the images, at least", ge=1)
    min_iterations: int = knob(500, "iterations", "", "small data sets repeat until this many steps", ge=1)
    batch_size: int = knob(16, "images, all workers", "published code", "images per step", ge=1)
    crop: int = knob(512, "pixels", "published code", "side of the square training crop", ge=32)
    resize: Annotated[tuple[int, int], AfterValidator(_ordered)] = knob(
        (320, 640), "pixels", "published code", "range the longer side is resized to before the crop"
    )
    rate: float = knob(0.1, "1", "paper 6.1", "initial learning rate of the backbone; polynomial decay", gt=0)
    head_factor: float = knob(
        10.0, "1", "published code", "the classifier layer's rate is this many times higher", gt=0
    )
    power: float = knob(0.9, "1", "paper 6.1", "exponent of the polynomial decay", gt=0)
    weight_decay: float = knob(1e-4, "1", "published code", "L2 penalty of the weights", ge=0)
    held_out: float = knob(
        0.1, "of the images", "", "kept from training, to measure how well each tag was learnt", ge=0, le=0.5
    )


class Seeds(Section):
    """Attention of each tag and relation mining (paper 3 and 4.2)."""

    method: Literal["prototypes", "correlation", "cam"] = knob(
        "prototypes",
        "name",
        "LPCAM; SEAM; paper 3",
        "attention from each tag's local prototypes, spread over like pixels; from the CAM, spread so; or the CAM",
    )
    prototypes: int = knob(16, "clusters", "LPCAM: 12", "local prototypes of a tag", ge=2)
    prototype_images: int = knob(32, "images", "", "images of a tag that its prototypes are found in, at most", ge=1)

    scales: tuple[Annotated[float, Field(gt=0)], ...] = knob(
        (0.5, 1.0, 1.5, 2.0),
        "1",
        "published code",
        "image scales whose maps are summed, each with its mirror image",
        min_length=1,
    )
    foreground: float = knob(0.30, "1", "paper 4.2", "attention above this is confidently foreground", gt=0, lt=1)
    background: float = knob(0.05, "1", "paper 4.2", "attention below this is confidently background", gt=0, lt=1)

    @model_validator(mode="after")
    def _apart(self) -> Seeds:
        if self.background >= self.foreground:
            raise ValueError("background must be below foreground")
        return self


class IRNet(Section):
    """Training of IRNet (paper 4)."""

    epochs: int = knob(3, "epochs", "published code", "passes over the images, at least", ge=1)
    min_iterations: int = knob(
        1000, "iterations", "published code", "small data sets repeat until this many steps", ge=1
    )
    batch_size: int = knob(32, "images, all workers", "published code", "images per step", ge=1)
    crop: int = knob(512, "pixels", "published code", "side of the square training crop", ge=64, multiple_of=4)
    rescale: Annotated[tuple[float, float], AfterValidator(_ordered)] = knob(
        (0.5, 1.5), "1", "published code", "range an image is rescaled by before the crop"
    )
    radius: int = knob(10, "pixels of stride 4", "paper 6.1", "largest distance of a pair, Eq. 2", ge=2)
    mean_images: int = knob(
        1024,
        "images",
        "paper 4.3",
        "images over which the mean displacement is measured, drawn evenly; the paper: all",
        ge=1,
    )
    rate: float = knob(0.1, "1", "paper 6.1", "initial learning rate; polynomial decay", gt=0)
    displacement_factor: float = knob(
        10.0, "1", "paper 6.1", "the displacement branch's rate is this many times higher", gt=0
    )
    power: float = knob(0.9, "1", "paper 6.1", "exponent of the polynomial decay", gt=0)
    weight_decay: float = knob(1e-4, "1", "published code", "L2 penalty of the weights", ge=0)

    @property
    def middle_scale(self) -> float:
        """The scale at which IRNet looks at an image after training: 1 with the paper's range."""
        return sum(self.rescale) / 2


class AffinityNet(Section):
    """Training of AffinityNet for `evaluate --ablation`; what is not here is as in `irnet` (paper 6.1)."""

    epochs: int = knob(3, "epochs", "as IRNet", "passes over the images, at least", ge=1)
    min_iterations: int = knob(1000, "iterations", "as IRNet", "small data sets repeat until this many steps", ge=1)
    rate: float = knob(1.0, "1", "published code", "initial learning rate; polynomial decay", gt=0)
    weight_decay: float = knob(5e-4, "1", "published code", "L2 penalty of the weights", ge=0)


class Labels(Section):
    """Label synthesis (paper 5)."""

    boundary_scales: tuple[Annotated[float, Field(gt=0)], ...] = knob(
        (1.33,),
        "of the size IRNet looks at",
        "",
        "the class boundary is the strongest over that size and these; the published code looks once",
    )
    radius: int = knob(5, "pixels of stride 4", "paper 6.1", "reach of one random walk step", ge=2)
    beta: float = knob(10.0, "1", "Eq. 12", "Hadamard power of the affinities", gt=0)
    steps: int = knob(256, "steps", "Eq. 13", "random walk steps", ge=0)
    refinements: int = knob(100, "iterations", "Eq. 10", "refinements of the displacement field", ge=0)
    centroid: float = knob(2.5, "pixels of stride 4", "Eq. 14", "displacements shorter than this mark a centroid", gt=0)
    background: float = knob(0.25, "1", "paper 5.2", "scores below this are background", gt=0, lt=1)
    min_area: float = knob(0.01, "of the image", "published code", "smaller instances are left out", ge=0, lt=1)
    per_class: bool = knob(
        False,
        "true or false",
        "published code",
        "divide scores by their class's maximum, not by the largest of all classes",
    )
    every_tag: bool = knob(True, "true or false", "", "a tag whose parts are all under min_area keeps its largest")
    score: Literal["extent", "peak"] = knob(
        "extent",
        "name",
        "",
        "of an instance: mean class score times the root of its share of the image; or the largest",
    )


class Config(Section):
    """A run's knobs."""

    backbone: Literal["resnet50", "lite0"] = knob("resnet50", "name", "paper 3", "backbone of both networks")
    weights: str | None = knob(None, "path", "paper 3", "ImageNet weights of the backbone; null: the published ones")
    seed: int = knob(0, "1", "", "seed of everything random", ge=0)
    max_side: int = knob(
        1280,
        "pixels",
        "",
        "larger images are worked on at this longer side; their labels have the image's own size",
        ge=32,
    )
    unit_size: int = knob(32, "images", "", "images that are computed and committed together", ge=1, le=4096)
    classifier: Classifier = Classifier()
    seeds: Seeds = Seeds()
    irnet: IRNet = IRNet()
    labels: Labels = Labels()
    affinitynet: AffinityNet = AffinityNet()

    @field_validator("weights")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        # Ray's workers have another working directory.
        return path if path is None else os.path.abspath(path)


# Half-size crops for a processor, and smaller scales with them: the displacement field learns at the borders of
# objects, of which large objects in small crops show too little.
SMALL_BACKBONE: dict[str, Any] = {
    "classifier": {"crop": 320, "resize": [288, 480], "batch_size": 16},
    "irnet": {"crop": 256, "rescale": [0.25, 1.25], "batch_size": 8, "min_iterations": 1500, "mean_images": 256},
    "affinitynet": {"min_iterations": 500},
}


# Generated scenes are few and small, and are to be labeled within minutes on a laptop.
SCENES: dict[str, Any] = {
    "classifier": {"crop": 192, "resize": [192, 288], "batch_size": 16, "min_iterations": 160},
    "irnet": {"crop": 192, "rescale": [0.5, 1.5], "batch_size": 8, "min_iterations": 400},
    "affinitynet": {"min_iterations": 200},
}


# The published pipeline, where measurement led elsewhere.
PAPER: dict[str, Any] = {
    "seeds": {"method": "cam"},
    "labels": {"boundary_scales": (), "every_tag": False, "score": "peak"},
}

PRESETS = {"paper": PAPER}


def load_config(
    path: Path | None, overrides: dict[str, Any], scenes: bool = False, preset: str | None = None
) -> Config:
    """The effective config: defaults, those of the small backbone, of `scenes` and of `preset`, the file, `overrides`.

    Each has its way over those before it. Overrides that are None count as not given.

    Raises:
        UserError: the file is missing or unreadable, or a key or value is wrong; the sentence names it.
    """
    chosen = _read(path) if path is not None else {}
    chosen = _merge(chosen, _given(overrides))
    base = SMALL_BACKBONE if chosen.get("backbone") == "lite0" else {}
    base = _merge(base, SCENES) if scenes else base
    if preset is not None:
        if preset not in PRESETS:
            raise UserError(f"No preset {preset!r}: there is {', '.join(PRESETS)}.")
        base = _merge(base, PRESETS[preset])
    try:
        return Config.model_validate(_merge(base, chosen))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        where = f"config {path}" if path is not None else "config"
        if first["type"] == "extra_forbidden":
            raise UserError(f"Unknown key {key!r} in {where}: `irnet-ray config` lists every key.") from error
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"Bad value for {key!r} in {where}: {message}, got {first['input']!r}.") from error


def describe(config: Config) -> list[tuple[str, str, str, str, str]]:
    """Rows (key, value, unit, source, meaning) of every knob, in order."""
    rows = []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Section):
            rows += [(f"{name}.{row[0]}", *row[1:]) for row in _describe_section(value)]
        else:
            rows.append(_row(name, value, field))
    return rows


def _describe_section(section: Section) -> list[tuple[str, str, str, str, str]]:
    return [_row(name, getattr(section, name), field) for name, field in type(section).model_fields.items()]


def _row(name: str, value: Any, field: Any) -> tuple[str, str, str, str, str]:
    extra = field.json_schema_extra
    return name, json.dumps(value), extra["unit"], extra["source"], field.description


def _read(path: Path) -> dict[str, Any]:
    import yaml

    if not path.is_file():
        raise UserError(f"No config file at {path}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"Config {path} is not YAML or JSON: {' '.join(str(error).split())}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"Config {path} holds a {type(content).__name__}: expected sections and keys.")
    return content


def _given(overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides without those that are None, in sections too."""
    plain = {key: _given(value) if isinstance(value, dict) else value for key, value in overrides.items()}
    return {key: value for key, value in plain.items() if value is not None}


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
