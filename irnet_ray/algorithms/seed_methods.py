"""The ways to compute an image's attention from the classifier's features, by their name in `seeds.method`.

To add one, add a row here and its function in a module of its own. Importing this module does not import torch, because
config files and `--help` need only the names.

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
    """One way to compute seeds.

    `attention(cam_Khw, levels, prototypes)` takes the CAM, float32 (K, h, w) on the last level's grid; the last three
    levels of features, each float32 (D, h', w'); and each tag's prototypes or None. It returns float32 (K, h, w).
    """

    says: str  # a short description
    attention: Attention | None  # None: the CAM is the attention
    prototypes: bool = False  # whether it needs the stage that finds prototypes
    one_scale: bool = False  # whether it sees the image only at scale 1, not at `seeds.scales`


def _prototypes(cam_Khw: Tensor, levels: Sequence[Tensor], prototypes: Sequence[Prototypes | None]) -> Tensor:
    """Similarity to the prototypes instead of the CAM (LPCAM); a tag without prototypes keeps its CAM."""
    from irnet_ray.algorithms.prototypes import prototype_attention

    for number, known in enumerate(prototypes):
        if known is not None:
            cam_Khw[number] = prototype_attention(levels[-1], known)
    return _correlation(cam_Khw, levels, prototypes)


def _correlation(cam_Khw: Tensor, levels: Sequence[Tensor], prototypes: Sequence[Prototypes | None]) -> Tensor:
    """The attention, spread over pixels with similar features (SEAM)."""
    from irnet_ray.algorithms.correlation import correlated

    return correlated(cam_Khw, list(levels))


METHODS = {
    # Prototypes are found at scale 1; looking for them at four scales costs six times as much.
    "prototypes": SeedMethod("similarity to each tag's prototypes, spread", _prototypes, True, True),
    "correlation": SeedMethod("the CAM, spread over pixels with like features", _correlation),
    "cam": SeedMethod("the CAM, as published", None),
}
