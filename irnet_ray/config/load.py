"""Every knob of a run, with its default, unit and source. Unknown keys are refused.

A config file is YAML or JSON with the same sections; what it leaves out keeps its default. The defaults are the
paper's, but where measurement led elsewhere, which `PAPER` undoes; a small backbone on a laptop's processor starts from
`SMALL_BACKBONE` instead.
"""

from __future__ import annotations

import json
import reprlib
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, field_validator

from irnet_ray.config.sections import (
    AffinityNet,
    Classifier,
    DeepLab,
    IRNet,
    Labels,
    MaskRCNN,
    Section,
    Seeds,
    absolute,
    knob,
)
from irnet_ray.errors import UserError


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
    unit_size: int | None = knob(
        None,
        "images",
        "",
        "images that are computed and committed together; null: 32, and up to 128 where many workers run",
        ge=1,
        le=4096,
    )
    image_seconds: float = knob(
        600.0, "s", "", "an image that takes longer in a step is given up: a row of errors, timed-out", gt=0
    )
    classifier: Classifier = Classifier()
    seeds: Seeds = Seeds()
    irnet: IRNet = IRNet()
    labels: Labels = Labels()
    affinitynet: AffinityNet = AffinityNet()
    mask_rcnn: MaskRCNN = MaskRCNN()
    deeplab: DeepLab = DeepLab()

    @field_validator("weights")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        return absolute(path)


# Half-size crops for a processor, and smaller scales with them: the displacement field learns at the borders of
# objects, of which large objects in small crops show too little.
SMALL_BACKBONE: dict[str, Any] = {
    "classifier": {"crop": 320, "resize": [288, 480], "batch_size": 16},
    "irnet": {"crop": 256, "rescale": [0.25, 1.25], "batch_size": 8, "min_iterations": 1000, "mean_images": 256},
    "affinitynet": {"min_iterations": 500},
    "mask_rcnn": {
        "epochs": 5,
        "min_iterations": 200,
        "batch_size": 8,
        "rate": 0.01,
        "sides": [192, 224],
        "max_side": 320,
        "proposals": "small",
    },
    # Its body moves at a tenth of the published rate: it learns some hundred images by heart.
    "deeplab": {
        "epochs": 2,
        "min_iterations": 200,
        "batch_size": 8,
        "rate": 2.5e-5,
        "head_factor": 100.0,
        "crop": 512,
        "rescale": [0.75, 1.25],
        "scales": [0.75, 1.0, 1.25],
    },
}


# Generated scenes are few and small, and are to be labeled within minutes on a laptop.
SCENES: dict[str, Any] = {
    "classifier": {"crop": 192, "resize": [192, 288], "batch_size": 16, "min_iterations": 160},
    "irnet": {"crop": 192, "rescale": [0.5, 1.5], "batch_size": 8, "min_iterations": 250},
    "affinitynet": {"min_iterations": 200},
    "mask_rcnn": {"sides": [160, 192], "min_iterations": 100, "epochs": 2, "batch_size": 4},
    "deeplab": {"crop": 160, "rescale": [0.5, 1.0], "scales": [0.5, 0.75, 1.0], "min_iterations": 60, "epochs": 2}
    | {"rate": 2.5e-4, "head_factor": 10.0},  # as published: ImageNet has seen no such objects
}


# The published pipeline, where measurement led elsewhere.
PAPER: dict[str, Any] = {
    "seeds": {"method": "cam"},
    "irnet": {"contrast": 0.0, "background_rise": 0.0},
    "labels": {"boundary_scales": (), "centroid_share": 0.0, "every_tag": False, "score": "peak"},
}

PRESETS = {"paper": PAPER}

# What knobs stood for before they were there: networks are used as they were trained, labels made as they were.
EARLIER: dict[str, Any] = {"irnet": {"contrast": 0.0, "background_rise": 0.0}, "labels": {"centroid_share": 0.0}}


def load_config(
    path: Path | None,
    overrides: dict[str, Any],
    scenes: bool = False,
    preset: str | None = None,
    base: dict[str, Any] | None = None,
) -> Config:
    """The effective config: defaults, those of the small backbone, of `scenes` and of `preset`, the file, `overrides`.

    Each has its way over those before it. Overrides that are None count as not given. `base`, the config of a run,
    takes the place of all defaults.

    Raises:
        UserError: the file is missing or unreadable, or a key or value is wrong; the sentence names it.
    """
    chosen = _read(path) if path is not None else {}
    chosen = merge(chosen, _given(overrides))
    if base is None:
        base = SMALL_BACKBONE if chosen.get("backbone") == "lite0" else {}
        base = merge(base, SCENES) if scenes else base
    if preset is not None:
        if preset not in PRESETS:
            raise UserError(f"No preset {preset!r}: there is {', '.join(PRESETS)}.")
        base = merge(base, PRESETS[preset])
    try:
        return Config.model_validate(merge(base, chosen))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        where = f"config {path}" if path is not None else "config"
        if first["type"] == "extra_forbidden":
            raise UserError(f"Unknown key {key!r} in {where}: `irnet-ray config` lists every key.") from error
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"Bad value for {key!r} in {where}: {message}, got {_shown(first['input'])}.") from error


def recorded_config(record: dict[str, Any]) -> Config:
    """The config of a run from its record, which may be an earlier version's and lack knobs of today."""
    return Config.model_validate(merge(EARLIER, record))


def _shown(value: Any) -> str:
    """A value for a sentence: never long, however deeply a file nests its aliases."""
    short = reprlib.Repr()
    short.maxlevel = 2
    try:
        return short.repr(value)
    except ValueError:  # an int of thousands of digits
        return f"a {type(value).__name__}"


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
    except OSError as error:
        raise UserError(f"Config {path} cannot be read: {error.strerror}; check its permissions.") from error
    except Exception as error:  # PyYAML's own, and what its constructors meet: IndexError for `!!int ''`
        raise UserError(f"Config {path} is not YAML or JSON: {' '.join(str(error).split())}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"Config {path} holds a {type(content).__name__}: expected sections and keys.")
    return content


def _given(overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides without those that are None, in sections too, and without sections that are then empty."""
    plain = {key: _given(value) if isinstance(value, dict) else value for key, value in overrides.items()}
    return {key: value for key, value in plain.items() if value is not None and value != {}}


def merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `top` over its own, section by section."""
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged
