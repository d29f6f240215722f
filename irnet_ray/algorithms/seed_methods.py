"""The ways to make an image's attention from what the classifier sees, by the name that `seeds.method` gives.

Adding one takes a row here, and its function in a module of its own. Importing this module does not import torch:
config files and `--help` need the names alone.

Shape suffixes: K the image's tags, h w cells of the classifier's last level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from irnet_ray.algorithms.prototypes import Prototypes

Attention = Callable[["Tensor", "Sequence[Tensor]", "Sequence[Prototypes | None]"], "Tensor"]


@dataclass(frozen=True)
class SeedMethod:
    """One way to make seeds.

    `attention(cam_Khw, levels, prototypes)` takes the CAM, float32 (K, h, w) on the last level's grid, the last three
    levels of features, each float32 (D, h', w'), and each tag's prototypes or None; it returns float32 (K, h, w).
    """

    says: str  # in a few words
    attention: Attention | None  # None: the CAM is the attention
    prototypes: bool = False  # whether it needs the stage that finds prototypes
    one_scale: bool = False  # whether it looks at the image at scale 1 alone, and not at `seeds.scales`


def _prototypes(cam_Khw: Tensor, levels: Sequence[Tensor], prototypes: Sequence[Prototypes | None]) -> Tensor:
    """Similarity to the prototypes instead of the CAM (LPCAM); a tag without prototypes keeps its CAM."""
    from irnet_ray.algorithms.prototypes import prototype_attention

    for number, known in enumerate(prototypes):
        if known is not None:
            cam_Khw[number] = prototype_attention(levels[-1], known)
    return _correlation(cam_Khw, levels, prototypes)


def _correlation(cam_Khw: Tensor, levels: Sequence[Tensor], prototypes: Sequence[Prototypes | None]) -> Tensor:
    """The attention spread over pixels with like features (SEAM)."""
    from irnet_ray.algorithms.correlation import correlated

    return correlated(cam_Khw, list(levels))


METHODS = {
    # Prototypes are found at scale 1; looking for them at four scales costs six times as much.
    "prototypes": SeedMethod("similarity to each tag's prototypes, spread", _prototypes, True, True),
    "correlation": SeedMethod("the CAM, spread over pixels with like features", _correlation),
    "cam": SeedMethod("the CAM, as published", None),
}
