"""What a backbone is to the classifier, IRNet and students. Importing this does not import torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from irnet_ray.networks.body import Body
    from irnet_ray.networks.five_levels import FiveLevels


def _unchanged(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state


@dataclass(frozen=True)
class Backbone:
    """A network that knows ImageNet, with all that the classifier, IRNet and students ask of it.

    Worker processes import this package again, so they do not know a row that the calling process added. They get the
    backbone itself: its functions must be picklable, and importable where the workers run.
    """

    name: str
    network: Callable[[], FiveLevels]  # untrained, for the classifier, IRNet and AffinityNet
    body: Callable[[int], Body]  # untrained, for students; strides over the given one are replaced by dilation
    weights: Callable[[], dict[str, Tensor]]  # for ImageNet, by name; downloaded if need be
    rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] = _unchanged  # a weights file's names to the network's
    head: str | None = None  # the ImageNet classifier's tensor (1000, D) in the renamed weights; None: there is none
    says: str = ""  # in a few words, for `--help`
    defaults: Mapping[str, Any] = field(default_factory=dict, hash=False)  # of the config, over its general ones
    deeplab_stride: int = 8  # of DeepLab v2 on the body
    normalize_levels: bool = True  # whether students put a normalization on the body's levels


class UnknownBackboneError(ValueError):
    """There is no backbone of this name; the message lists those that there are."""
