"""Losses of IRNet over pairs of nearby pixels (paper 4.2 to 4.5; Eq. 2 to 9).

Every loss is a sum over pairs, and at radius 10 there are 152 pairs to a pixel. But a pair depends on the
network's output at few pixels: its boundary loss on the one where the boundary on its line is largest, its
displacement loss on its two ends. So one pass over the pairs, without gradient, leaves two things per pixel:

    counts  how many pairs of each kind have their largest boundary here
    signs   in how many pairs the displaced pixel lies beyond the other one, less those where it lies before

With these held constant the losses are sums over pixels, and autograd finds their exact gradient from there.

Shape legend: B images; H, W pixels at the network's stride; h, w the window of sources in it.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import sigmoid

from irnet_ray.algorithms.affinity import Offset, line_maxima, offsets
from irnet_ray.algorithms.maps import UNSURE
from irnet_ray.algorithms.pairs import BACKGROUND, FOREGROUND, IGNORED, NEGATIVE, kinds, shifted, sources

_EPSILON = 1e-5


class RelationLoss(NamedTuple):
    """Means over the pairs of a batch, each a scalar tensor; 0 if there is no such pair.

    boundary_*: cross-entropy of the affinity (Eq. 8), over pairs of the same class (background, foreground)
    and of different classes (negative). displacement_*: L1 distance in pixels, the mean of both coordinates
    (Eq. 5, 6). total: (boundary_background / 2 + boundary_foreground / 2 + boundary_negative) / 2
    + (displacement_foreground + displacement_background) / 2, the published weights of Eq. 9.
    """

    boundary_background: Tensor
    boundary_foreground: Tensor
    boundary_negative: Tensor
    displacement_foreground: Tensor
    displacement_background: Tensor
    total: Tensor


def relation_loss(
    boundary_logits: Tensor,
    field: Tensor,
    class_map: Tensor,
    radius: int,
    background_weight: float = 1.0,
) -> RelationLoss:
    """Losses of a batch against its pseudo class maps.

    boundary_logits: float (B, 1, H, W), before the sigmoid. field: float (B, 2, H, W), displacement (dy, dx)
    in pixels of this grid. class_map: uint8 (B, H, W), 0 background, 1..K the image's tags, 255 unsure; a
    pair with an unsure end does not count. background_weight: factor of displacement_background in the total, on top
    of the published weight. Computed in float32, also under autocast (float64 if the logits are).

    Pairs start at pixels whose whole half disc of ``radius`` lies in the image, so a smaller image has none.

    Raises ValueError for wrong shapes and a class map that is not uint8.
    """
    _check_inputs(boundary_logits, field, class_map)
    pairs = offsets(radius)
    dtype = torch.float64 if boundary_logits.dtype == torch.float64 else torch.float32
    logits, field = boundary_logits[:, 0].to(dtype), field.to(dtype)
    foreground = (class_map != 0) & (class_map != UNSURE)
    positions = torch.stack(_coordinates(foreground, dtype), dim=1)
    # Eq. 5 and 6 in one: D(i) - D(j) - (x_j - x_i) is the difference of x + D(x); for background x is left out.
    ends = field + positions * foreground[:, None]
    counts, signs = _pair_sums(logits.detach(), ends.detach().contiguous(), class_map, radius, pairs)
    sizes = counts.flatten(1).sum(dim=1).clamp(min=1)
    probability = sigmoid(logits)
    different, same = -(probability + _EPSILON).log(), -(1 - probability + _EPSILON).log()
    boundary_background, boundary_foreground = (
        (counts[kind] * same).sum() / sizes[kind] for kind in (BACKGROUND, FOREGROUND)
    )
    boundary_negative = (counts[NEGATIVE] * different).sum() / sizes[NEGATIVE]
    # Both ends of such a pair are of one kind, and |a - b| = a sign(a - b) + b sign(b - a), so the sum over pairs is
    # a sum over pixels. Its terms nearly cancel, hence float64.
    distance = (ends.double() * signs).sum(dim=1)
    displacement_background, displacement_foreground = (
        ((distance * mask).sum() / (2 * sizes[kind])).to(dtype)
        for kind, mask in ((BACKGROUND, class_map == 0), (FOREGROUND, foreground))
    )
    boundary = boundary_background / 2 + boundary_foreground / 2 + boundary_negative
    total = boundary / 2 + (displacement_foreground + background_weight * displacement_background) / 2
    return RelationLoss(
        boundary_background,
        boundary_foreground,
        boundary_negative,
        displacement_foreground,
        displacement_background,
        total,
    )


@torch.no_grad()
def _pair_sums(
    logits: Tensor, ends: Tensor, class_map: Tensor, radius: int, pairs: list[Offset]
) -> tuple[Tensor, Tensor]:
    """The pass over all pairs: counts (3, B, H, W) of each kind, and signs (B, 2, H, W)."""
    batch, height, width = logits.shape
    pixels = logits.numel()
    # Ranks instead of values: the maximal rank identifies its pixel, even among equal values.
    order = logits.flatten(1).argsort(dim=1)
    numbers = torch.arange(pixels, dtype=torch.int32, device=logits.device).view(batch, -1)
    ranks = torch.empty_like(numbers).scatter_(1, order, numbers)
    kind_of_same, kind_of_different = kinds(class_map)
    kind_of_different *= pixels
    from_different_to_same = kind_of_same * pixels - kind_of_different
    counts = torch.zeros(4 * pixels, dtype=torch.int32, device=logits.device)
    signs = torch.zeros_like(ends)
    window = sources(radius, height, width)
    source = (..., *window)
    one = counts.new_ones(class_map[source].numel())
    for offset, largest in line_maxima(ranks.view(batch, height, width), pairs):
        target = (..., *shifted(window, offset))
        same = (class_map[source] == class_map[target]).int()
        # A torch.where of the two kinds takes five times as long as this arithmetic.
        index = torch.maximum(kind_of_different[source], kind_of_different[target])
        index.addcmul_(same, from_different_to_same[source])
        index += largest[(..., *shifted(window, (0, min(offset[1], 0))))]
        counts.scatter_add_(0, index.flatten().long(), one)
        sign = (ends[source] - ends[target]).sign_().mul_(same[:, None].to(ends.dtype))
        signs[source].add_(sign)
        signs[target].sub_(sign)
    by_rank = counts.view(4, batch, -1)[:IGNORED]
    return by_rank.flatten(1).index_select(1, ranks.flatten()).view(3, batch, height, width), signs


def _coordinates(like: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Row and column numbers of every pixel, each expanded to (B, H, W)."""
    _, height, width = like.shape
    rows = torch.arange(height, dtype=dtype, device=like.device)[:, None].expand(like.shape)
    columns = torch.arange(width, dtype=dtype, device=like.device).expand(like.shape)
    return rows, columns


def _check_inputs(boundary_logits: Tensor, field: Tensor, class_map: Tensor) -> None:
    batch, height, width = class_map.shape if class_map.ndim == 3 else (-1, -1, -1)
    if class_map.dtype != torch.uint8:
        raise ValueError(f"class_map must be uint8 (0 background, 1..K, 255 unsure), got {class_map.dtype}.")
    if boundary_logits.shape != (batch, 1, height, width) or field.shape != (batch, 2, height, width):
        raise ValueError(
            "boundary_logits, field and class_map must be (B, 1, H, W), (B, 2, H, W) and (B, H, W) alike, "
            f"got {tuple(boundary_logits.shape)}, {tuple(field.shape)} and {tuple(class_map.shape)}."
        )
