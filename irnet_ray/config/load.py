"""The config of a run: how defaults, presets, a config file and single options combine into one.

A config file is YAML or JSON with the sections of `Config`; a knob that it leaves out keeps its default. The defaults
are the paper's, except where measurements were better (`PAPER` undoes that) and where a backbone has its own.
"""

from __future__ import annotations

import json
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationError, field_validator

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
    one_of,
    rising,
)
from irnet_ray.errors import UserError, reason
from irnet_ray.networks.backbones import BACKBONES


class Config(Section):
    """A run's knobs."""

    backbone: Annotated[str, AfterValidator(one_of(BACKBONES))] = knob(
        "resnet50", "name", "paper 3", "backbone of both networks"
    )
    weights: str | None = knob(None, "path", "paper 3", "ImageNet weights of the backbone; null: the published ones")
    seed: int = knob(0, "1", "", "seed of everything random", ge=0, lt=2**32)
    max_side: int = knob(
        1280,
        "pixels",
        "",
        "longer side that larger images are reduced to; labels always have the image's own size",
        ge=32,
    )
    window: Annotated[tuple[float, float] | None, AfterValidator(rising)] = knob(
        None,
        "sample values",
        "",
        "images of more than 8 bits: what becomes black and white; null: by the range that each one's samples have",
    )
    unit_size: int | None = knob(
        None,
        "images",
        "",
        "images that are computed and committed together; null: 32, and up to 128 with many workers",
        ge=1,
        le=4096,
    )
    image_seconds: float = knob(
        600.0, "s", "", "an image that takes longer than this in one step becomes an error row, timed-out", gt=0
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


# Generated scenes are few and small, and a laptop should label them within minutes.
SCENES: dict[str, Any] = {
    "classifier": {"crop": 192, "resize": [192, 288], "batch_size": 16, "min_iterations": 160},
    "irnet": {"crop": 192, "rescale": [0.5, 1.5], "batch_size": 8, "min_iterations": 250},
    "affinitynet": {"min_iterations": 200},
    "mask_rcnn": {"sides": [160, 192], "min_iterations": 100, "epochs": 2, "batch_size": 4},
    "deeplab": {"crop": 160, "rescale": [0.5, 1.0], "scales": [0.5, 0.75, 1.0], "min_iterations": 60, "epochs": 2}
    | {"rate": 2.5e-4, "head_factor": 10.0},  # as published: ImageNet has no such objects
}


# The published pipeline: undoes the defaults that measurements changed.
PAPER: dict[str, Any] = {
    "seeds": {"method": "cam"},
    "irnet": {"contrast": 0.0, "background_rise": 0.0},
    "labels": {"boundary_scales": (), "centroid_share": 0.0, "every_tag": False, "score": "peak"},
}

PRESETS = {"paper": PAPER}

# Values that reproduce runs older than these options.
EARLIER: dict[str, Any] = {"irnet": {"contrast": 0.0, "background_rise": 0.0}, "labels": {"centroid_share": 0.0}}


def load_config(
    path: Path | None,
    overrides: dict[str, Any],
    scenes: bool = False,
    preset: str | None = None,
    base: dict[str, Any] | None = None,
    settings: Sequence[str] = (),
) -> Config:
    """The effective config. Each of these layers overrides those before it.

    The defaults; the defaults of the backbone, of `scenes` and of `preset`; the file; `overrides`; `settings`.

    Args:
        path: a YAML or JSON file.
        overrides: knobs by section, from the command's own options; None counts as not given.
        scenes: whether generated scenes are labeled, which have their own defaults.
        preset: a name in `PRESETS`.
        base: the config of a run, in place of all defaults.
        settings: single knobs as `--set` takes them, such as `labels.background=0.3`.

    Raises:
        UserError: the file is missing or unreadable, or a key or value is wrong; the sentence names it.
    """
    chosen = _read(path) if path is not None else {}
    try:
        single = _settings(settings)
        chosen = merge(merge(chosen, _given(overrides)), single)
    except RecursionError as error:  # a YAML alias that holds itself, or a key of thousands of names
        raise UserError(f"{'--set' if settings else path} nests values without end: write them out.") from error
    if base is None:
        base = _defaults_of(chosen.get("backbone", Config.model_fields["backbone"].default))
        base = merge(base, SCENES) if scenes else base
    if preset is not None:
        if preset not in PRESETS:
            raise UserError(f"No preset {preset!r}: choose one of {', '.join(PRESETS)}.")
        base = merge(base, PRESETS[preset])
    try:
        return Config.model_validate(merge(base, chosen))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        is_single = _is_in(single, first["loc"])
        where = "--set" if is_single else f"config {path}" if path is not None else "config"
        if first["type"] == "extra_forbidden":
            raise UserError(f"Unknown key {key!r} in {where}: `irnet-ray config` lists every key.") from error
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"Bad value for {key!r} in {where}: {message}, got {_shown(first['input'])}.") from error


def _settings(settings: Sequence[str]) -> dict[str, Any]:
    """Parse `KEY=VALUE` settings, each value as YAML, into knobs by section. Raises UserError."""
    import yaml

    found: dict[str, Any] = {}
    for setting in settings:
        key, is_set, text = setting.partition("=")
        names = key.strip().split(".")
        if not is_set or not all(names):
            raise UserError(f"--set takes KEY=VALUE, such as labels.background=0.3, but got {setting!r}.")
        try:
            value = yaml.safe_load(text)
        except Exception as error:  # PyYAML's own, and those of the types that it constructs
            raise UserError(f"--set {setting}: the value is not YAML ({' '.join(str(error).split())}).") from error
        for name in reversed(names):
            value = {name: value}
        found = merge(found, value)
    return found


def _is_in(knobs: Any, names: Sequence[Any]) -> bool:
    """Whether nested knobs hold this path of names. The path may be longer than the knobs are nested."""
    for name in names:
        if not isinstance(knobs, dict):
            return True
        if name not in knobs:
            return False
        knobs = knobs[name]
    return True


def recorded_config(record: dict[str, Any]) -> Config:
    """The config of a run from its record. A record of an older release may lack knobs; `EARLIER` fills them in."""
    return Config.model_validate(merge(EARLIER, record))


def _defaults_of(backbone: Any) -> dict[str, Any]:
    """The defaults of a backbone; empty for an unknown name, which the validation refuses later."""
    known = isinstance(backbone, str) and backbone in BACKBONES
    return dict(BACKBONES[backbone].defaults) if known else {}


def _shown(value: Any) -> str:
    """A value for use in a sentence: short, even if a file nests aliases deeply."""
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
        raise UserError(f"Config {path} cannot be read: {reason(error)}; check its permissions.") from error
    except Exception as error:  # PyYAML's own, and those of the types that it constructs: IndexError for `!!int ''`
        raise UserError(f"Config {path} is not YAML or JSON: {' '.join(str(error).split())}.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"Config {path} holds a {type(content).__name__}: expected sections and keys.")
    return content


def _given(overrides: dict[str, Any]) -> dict[str, Any]:
    """Overrides without the knobs that are None, and without sections that are then empty."""
    plain = {key: _given(value) if isinstance(value, dict) else value for key, value in overrides.items()}
    return {key: value for key, value in plain.items() if value is not None and value != {}}


def merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """Merge section by section; values of `top` override those of `base`."""
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged
