"""The sections of a run's config: every knob with its default, unit and source. Unknown keys are refused."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from irnet_ray.algorithms.seed_methods import METHODS
from irnet_ray.networks.backbones import BACKBONES


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


def rising(window: tuple[float, float] | None) -> tuple[float, float] | None:
    """A window of sample values, the lower one first."""
    if window is not None and not window[0] < window[1]:
        raise ValueError("must be two numbers, the smaller first")
    return window


def absolute(path: str | None) -> str | None:
    """A path that Ray's workers, which have another working directory, find too."""
    return path if path is None else os.path.abspath(path)


def one_of(kind: str, known: Mapping[str, Any]) -> Callable[[str], str]:
    """A validator that takes the names in `known`, which may grow, and says them all where a name is not among them."""

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"there is no {kind} of that name, but {', '.join(sorted(known))}")
        return name

    return check


class Classifier(Section):
    """Training of the classification network (paper 3)."""

    pretrained: bool = knob(
        False,
        "true or false",
        "",
        "take the backbone's own ImageNet classifier, of whose classes the tags must be, and train nothing",
    )
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

    method: Annotated[str, AfterValidator(one_of("seed method", METHODS))] = knob(
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
        "image scales of the CAM, summed, each with its mirror image; prototypes take scale 1",
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
    contrast: float = knob(
        3.0,
        "1",
        "",
        "how many times the difference from the mirror image's features counts, by which the field tells left "
        "from right; 0: the field of the image alone, as published",
        ge=0,
    )
    background_rise: float = knob(
        0.4,
        "of the iterations",
        "",
        "over which the displacement loss of background pairs rises from 0 to its weight; 0: it is whole at once, as "
        "published",
        ge=0,
        le=1,
    )

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
        "the class boundary is the strongest, and the displacement field the mean, over that size and these; the "
        "published code looks once",
    )
    radius: int = knob(5, "pixels of stride 4", "paper 6.1", "reach of one random walk step", ge=2)
    beta: float = knob(10.0, "1", "Eq. 12", "Hadamard power of the affinities", gt=0)
    steps: int = knob(256, "steps", "Eq. 13", "random walk steps", ge=0)
    refinements: int = knob(100, "iterations", "Eq. 10", "refinements of the displacement field", ge=0)
    centroid: float = knob(2.5, "pixels of stride 4", "Eq. 14", "displacements shorter than this mark a centroid", gt=0)
    centroid_share: float = knob(
        0.15,
        "of the image's longest displacement",
        "",
        "and so do those shorter than this share: the longer a field, the noisier it is; 0: as published",
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
    every_tag: bool = knob(True, "true or false", "", "a tag whose parts are all under min_area keeps its largest")
    score: Literal["extent", "peak"] = knob(
        "extent",
        "name",
        "",
        "of an instance: mean class score times the root of its share of the image; or the largest",
    )


class Student(Section):
    """What both students are trained with; their images and labels come from a finished run."""

    backbone: str | None = knob(
        None, "name", "", f"{', '.join(BACKBONES)}, or any of torchvision's and timm's; null: the run's own"
    )
    weights: str | None = knob(None, "path", "", "ImageNet weights of that backbone; null: the published ones")
    epochs: int = knob(12, "epochs", "torchvision's 1x schedule is 12", "passes over the images, at least", ge=1)
    min_iterations: int = knob(1000, "iterations", "", "small data sets repeat until this many steps", ge=1)
    batch_size: int = knob(16, "images, all workers", "torchvision", "images per step", ge=1)
    rate: float = knob(0.02, "1", "torchvision", "initial learning rate; polynomial decay; momentum 0.9", gt=0)
    warmup: int = knob(500, "iterations", "torchvision", "linear rise of the rate; a tenth of them all at most", ge=0)
    power: float = knob(0.9, "1", "DeepLab v2", "exponent of the polynomial decay", gt=0)
    weight_decay: float = knob(1e-4, "1", "torchvision", "L2 penalty of the weights", ge=0)
    min_score: float = knob(0.0, "1", "", "instances scored below this are left out", ge=0, le=1)
    min_quality: float = knob(0.0, "1", "", "instances of a lower quality are left out", ge=0, le=1)
    background: Literal["keep", "skip"] = knob(
        "keep", "name", "", "images without instances: all of them background, or left out"
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
        "the shorter side is resized to one of these; to the last of them in prediction",
        min_length=1,
    )
    max_side: int = knob(1333, "pixels", "torchvision", "but the longer side to no more than this", ge=32)
    proposals: Literal["full", "small"] = knob(
        "full", "name", "torchvision", "regions an image trains on: torchvision's 512, or a quarter of them"
    )
    threshold: float = knob(0.05, "1", "torchvision", "predictions scored below this are left out", ge=0, lt=1)


class DeepLab(Student):
    """Training of DeepLab on the labels (paper 6.3)."""

    network: str = knob(
        "v2", "name", "paper 6.3", "v2, or one of torchvision's segmentation networks, such as deeplabv3_resnet50"
    )
    epochs: int = knob(20, "epochs", "DeepLab v2: 20,000 iterations", "passes over the images, at least", ge=1)
    batch_size: int = knob(10, "images, all workers", "DeepLab v2", "images per step", ge=1)
    rate: float = knob(2.5e-4, "1", "DeepLab v2", "initial learning rate; polynomial decay; momentum 0.9", gt=0)
    head_factor: float = knob(10.0, "1", "DeepLab v2", "the pyramid pooling's rate is this many times higher", gt=0)
    warmup: int = knob(0, "iterations", "DeepLab v2", "linear rise of the rate; a tenth of them all at most", ge=0)
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
