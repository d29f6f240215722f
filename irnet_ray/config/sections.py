"""The sections of a config: every knob with its default, unit, source and meaning. Unknown keys are refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from irnet_ray.algorithms.seed_methods import METHODS
from irnet_ray.networks.backbones import BACKBONES


def knob(default: Any, unit: str, source: str, meaning: str, **limits: Any) -> Any:
    """A field with its unit and the source of its default; `limits` are pydantic's (`gt`, `le`, ...)."""
    return Field(default, description=meaning, json_schema_extra={"unit": unit, "source": source}, **limits)


class Section(BaseModel):
    """Strict about unknown keys and immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


Limits = TypeVar("Limits", tuple[int, int], tuple[float, float])


def _ordered(limits: Limits) -> Limits:
    if not 0 < limits[0] <= limits[1]:
        raise ValueError("must be two numbers above 0, the smaller first")
    return limits


def rising(window: tuple[float, float] | None) -> tuple[float, float] | None:
    """A window of sample values, the lower one first."""
    if window is not None and not window[0] < window[1]:
        raise ValueError("must be two numbers, the smaller first")
    return window


def absolute(path: str | None) -> str | None:
    """An absolute path: Ray's workers have another working directory."""
    return path if path is None else os.path.abspath(path)


def one_of(known: Mapping[str, Any]) -> Callable[[str], str]:
    """A validator that accepts the names in `known`, also those added to it later."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"must be one of {', '.join(sorted(known))}")
        return name

    return check


class Classifier(Section):
    """Training of the classification network (paper 3)."""

    pretrained: bool = knob(
        False,
        "true or false",
        "",
        "use the backbone's own ImageNet classifier and train nothing; all tags must be ImageNet classes",
    )
    epochs: int = knob(5, "epochs", "published code", "minimum passes over the images", ge=1)
    min_iterations: int = knob(500, "iterations", "", "minimum steps; small data sets are repeated", ge=1)
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
        0.1, "of the images", "", "left out of training, to measure how well each tag is learned", ge=0, le=0.5
    )


class Seeds(Section):
    """Attention of each tag and relation mining (paper 3 and 4.2)."""

    method: Annotated[str, AfterValidator(one_of(METHODS))] = knob(
        "prototypes",
        "name",
        "LPCAM; SEAM; paper 3",
        "; ".join(f"{name}: {one.says}" for name, one in METHODS.items()),
    )
    prototypes: int = knob(16, "clusters", "LPCAM: 12", "local prototypes of a tag", ge=2)
    prototype_images: int = knob(32, "images", "", "maximum images of a tag in which its prototypes are searched", ge=1)

    scales: tuple[Annotated[float, Field(gt=0)], ...] = knob(
        (0.5, 1.0, 1.5, 2.0),
        "1",
        "published code",
        "image scales of the CAM, summed, each with its mirror image; prototypes use scale 1",
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

    epochs: int = knob(3, "epochs", "published code", "minimum passes over the images", ge=1)
    min_iterations: int = knob(
        1000, "iterations", "published code", "minimum steps; small data sets are repeated", ge=1
    )
    batch_size: int = knob(32, "images, all workers", "published code", "images per step", ge=1)
    crop: int = knob(512, "pixels", "published code", "side of the square training crop", ge=64, multiple_of=4)
    rescale: Annotated[tuple[float, float], AfterValidator(_ordered)] = knob(
        (0.5, 1.5), "1", "published code", "range an image is rescaled by before the crop"
    )
    radius: int = knob(10, "pixels of stride 4", "paper 6.1", "largest distance of a pair, Eq. 2", ge=2, le=64)
    mean_images: int = knob(
        1024,
        "images",
        "paper 4.3",
        "evenly drawn images over which the mean displacement is measured; the paper: all",
        ge=1,
    )
    rate: float = knob(0.1, "1", "paper 6.1", "initial learning rate; polynomial decay", gt=0)
    displacement_factor: float = knob(
        10.0, "1", "paper 6.1", "the displacement branch's rate is this many times higher", gt=0
    )
    power: float = knob(0.9, "1", "paper 6.1", "exponent of the polynomial decay", gt=0)
    weight_decay: float = knob(1e-4, "1", "published code", "L2 penalty of the weights", ge=0)
    contrast: float = knob(
        3.0,
        "1",
        "",
        "weight of the difference from the mirror image's features, by which the field tells left from right; 0: the "
        "field of the image alone, as published",
        ge=0,
    )
    background_rise: float = knob(
        0.4,
        "of the iterations",
        "",
        "share over which the displacement loss of background pairs rises from 0 to its full weight; 0: full from the "
        "start, as published",
        ge=0,
        le=1,
    )

    @property
    def middle_scale(self) -> float:
        """The scale at which a trained IRNet sees an image: 1 for the paper's range."""
        return sum(self.rescale) / 2


class AffinityNet(Section):
    """Training of AffinityNet for `evaluate --ablation`; the other knobs are those of `irnet` (paper 6.1)."""

    epochs: int = knob(3, "epochs", "as IRNet", "minimum passes over the images", ge=1)
    min_iterations: int = knob(1000, "iterations", "as IRNet", "minimum steps; small data sets are repeated", ge=1)
    rate: float = knob(1.0, "1", "published code", "initial learning rate; polynomial decay", gt=0)
    weight_decay: float = knob(5e-4, "1", "published code", "L2 penalty of the weights", ge=0)


class Labels(Section):
    """Label synthesis (paper 5)."""

    boundary_scales: tuple[Annotated[float, Field(gt=0)], ...] = knob(
        (1.33,),
        "of IRNet's image size",
        "",
        "more scales at which IRNet sees the image: the boundary is the maximum over all, the displacement field the "
        "mean; none: one scale, as published",
    )
    radius: int = knob(5, "pixels of stride 4", "paper 6.1", "reach of one random walk step", ge=2, le=64)
    beta: float = knob(10.0, "1", "Eq. 12", "Hadamard power of the affinities", gt=0)
    steps: int = knob(256, "steps", "Eq. 13", "random walk steps", ge=0)
    refinements: int = knob(100, "iterations", "Eq. 10", "refinements of the displacement field", ge=0)
    centroid: float = knob(2.5, "pixels of stride 4", "Eq. 14", "displacements shorter than this mark a centroid", gt=0)
    centroid_share: float = knob(
        0.15,
        "of the image's longest displacement",
        "",
        "displacements shorter than this share mark a centroid too, since a longer field is noisier; 0: as published",
        ge=0,
        lt=1,
    )
    background: float = knob(0.25, "1", "paper 5.2", "scores below this are background", gt=0, lt=1)
    min_area: float = knob(0.01, "of the image", "published code", "smaller instances are left out", ge=0, lt=1)
    per_class: bool = knob(
        False,
        "true or false",
        "published code",
        "divide scores by their class's maximum, not by the largest of all classes",
    )
    every_tag: bool = knob(True, "true or false", "", "a tag whose parts are all under min_area keeps its largest part")
    score: Literal["extent", "peak"] = knob(
        "extent",
        "name",
        "",
        "of an instance; extent: mean class score times the root of its share of the image; peak: the largest score",
    )


class Student(Section):
    """Training of a student; its images and labels come from a finished run."""

    backbone: str | None = knob(
        None, "name", "", f"{', '.join(BACKBONES)}, or a network of torchvision or timm; null: the run's own"
    )
    weights: str | None = knob(None, "path", "", "ImageNet weights of that backbone; null: the published ones")
    epochs: int = knob(12, "epochs", "torchvision's 1x schedule is 12", "minimum passes over the images", ge=1)
    min_iterations: int = knob(1000, "iterations", "", "minimum steps; small data sets are repeated", ge=1)
    batch_size: int = knob(16, "images, all workers", "torchvision", "images per step", ge=1)
    rate: float = knob(0.02, "1", "torchvision", "initial learning rate; polynomial decay; momentum 0.9", gt=0)
    warmup: int = knob(500, "iterations", "torchvision", "linear rise of the rate; at most a tenth of all steps", ge=0)
    power: float = knob(0.9, "1", "DeepLab v2", "exponent of the polynomial decay", gt=0)
    weight_decay: float = knob(1e-4, "1", "torchvision", "L2 penalty of the weights", ge=0)
    min_score: float = knob(0.0, "1", "", "instances scored below this are left out", ge=0, le=1)
    min_quality: float = knob(0.0, "1", "", "instances of a lower quality are left out", ge=0, le=1)
    background: Literal["keep", "skip"] = knob(
        "keep", "name", "", "images without instances: trained on as background, or left out"
    )

    @field_validator("weights")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        return absolute(path)


class MaskRCNN(Student):
    """Training of Mask R-CNN on the labels (paper 6.3)."""

    sides: tuple[Annotated[int, Field(ge=32)], ...] = knob(
        (640, 672, 704, 736, 768, 800),
        "pixels",
        "Detectron",
        "the shorter side is resized to one of these in training, to the last one in prediction",
        min_length=1,
    )
    max_side: int = knob(1333, "pixels", "torchvision", "maximum of the longer side after resizing", ge=32)
    proposals: Literal["full", "small"] = knob(
        "full",
        "name",
        "torchvision",
        "regions of an image to train on; full: torchvision's 512; small: a quarter of these",
    )
    threshold: float = knob(0.05, "1", "torchvision", "predictions scored below this are left out", ge=0, lt=1)


class DeepLab(Student):
    """Training of DeepLab on the labels (paper 6.3)."""

    network: str = knob(
        "v2", "name", "paper 6.3", "v2, or one of torchvision's segmentation networks, such as deeplabv3_resnet50"
    )
    epochs: int = knob(20, "epochs", "DeepLab v2: 20,000 iterations", "minimum passes over the images", ge=1)
    batch_size: int = knob(10, "images, all workers", "DeepLab v2", "images per step", ge=1)
    rate: float = knob(2.5e-4, "1", "DeepLab v2", "initial learning rate; polynomial decay; momentum 0.9", gt=0)
    head_factor: float = knob(10.0, "1", "DeepLab v2", "the pyramid pooling's rate is this many times higher", gt=0)
    warmup: int = knob(0, "iterations", "DeepLab v2", "linear rise of the rate; at most a tenth of all steps", ge=0)
    weight_decay: float = knob(5e-4, "1", "DeepLab v2", "L2 penalty of the weights", ge=0)
    crop: int = knob(321, "pixels", "DeepLab v2", "side of the square training crop", ge=64)
    rescale: Annotated[tuple[float, float], AfterValidator(_ordered)] = knob(
        (0.5, 1.5), "1", "DeepLab v2", "range an image is rescaled by before the crop"
    )
    scales: tuple[Annotated[float, Field(gt=0)], ...] = knob(
        (0.5, 1.0, 1.5, 2.0),
        "1",
        "paper 6.3",
        "scales of prediction, each with its mirror image, averaged",
        min_length=1,
    )
    crf: bool = knob(False, "true or false", "DeepLab v2", "refine predictions by a dense CRF")
