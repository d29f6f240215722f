"""Loss of AffinityNet over pairs of nearby pixels (Ahn and Kwak, CVPR 2018, 3.3 and Eq. 1 to 7).

The affinity of a pair is exp(-d), where d is the mean distance of its two embeddings over the channels. With autograd
every pair would keep its differences in all channels for the backward pass. But a pair's gradient is known as soon as
its distance is: slope(d) sign(f_i - f_j) / C at one end, and its opposite at the other. So one pass without autograd
sums loss and gradient together, and stores nothing per pair.

Shape legend: B images; C channels; H, W pixels at the network's stride; h, w the window of sources in it.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from irnet_ray.algorithms.affinity import offsets
from irnet_ray.algorithms.pairs import BACKGROUND, FOREGROUND, IGNORED, NEGATIVE, kinds, shifted, sources

_EPSILON = 1e-5


class AffinityLoss(NamedTuple):
    """Means over the pairs of a batch, each a scalar tensor; 0 if there is no such pair.

    Cross-entropy of the affinity, over pairs of the same class (background, foreground) and of different classes
    (negative). total: background / 4 + foreground / 4 + negative / 2, the published weights. Only the total has a
    gradient.
    """

    background: Tensor
    foreground: Tensor
    negative: Tensor
    total: Tensor


def affinity_loss(embedding: Tensor, class_map: Tensor, radius: int) -> AffinityLoss:
    """Losses of a batch against its pseudo class maps.

    embedding: float (B, C, H, W). class_map: uint8 (B, H, W), 0 background, 1..K the image's tags, 255 unsure; a
    pair with an unsure end does not count. Computed in float32 (float64 if the embedding is). The pairs are the same
    as in `losses.relation_loss` at this radius.

    Raises ValueError for wrong shapes and a class map that is not uint8.
    """
    if class_map.dtype != torch.uint8:
        raise ValueError(f"class_map must be uint8 (0 background, 1..K, 255 unsure), got {class_map.dtype}.")
    if embedding.ndim != 4 or class_map.shape != (len(embedding), *embedding.shape[2:]):
        raise ValueError(
            "embedding and class_map must be (B, C, H, W) and (B, H, W) of the same size, "
            f"got {tuple(embedding.shape)} and {tuple(class_map.shape)}."
        )
    dtype = torch.float64 if embedding.dtype == torch.float64 else torch.float32
    total, terms = _PairLoss.apply(embedding.to(dtype).contiguous(), class_map, radius)
    return AffinityLoss(terms[BACKGROUND], terms[FOREGROUND], terms[NEGATIVE], total)


class _PairLoss(torch.autograd.Function):
    """The total, and the three terms in the order of the kinds. The forward pass already computes the gradient."""

    @staticmethod
    def forward(ctx: Any, embedding: Tensor, class_map: Tensor, radius: int) -> tuple[Tensor, Tensor]:
        pairs = offsets(radius)
        window = sources(radius, *class_map.shape[1:])
        kind_Phw = _kinds_of_pairs(class_map, radius)
        sizes = torch.bincount(kind_Phw.flatten(), minlength=IGNORED + 1).clamp(min=1)
        weight = embedding.new_tensor([1 / 4, 1 / 4, 1 / 2, 0]) / sizes
        sums = embedding.new_zeros(IGNORED)
        gradient = torch.zeros_like(embedding)
        source = (..., *window)
        for offset, kind in zip(pairs, kind_Phw, strict=True):
            target = (..., *shifted(window, offset))
            difference = embedding[source] - embedding[target]
            affinity = difference.abs().mean(dim=1).neg_().exp_()
            negative = kind == NEGATIVE
            likelihood = torch.where(negative, 1 - affinity, affinity) + _EPSILON
            loss = likelihood.log().neg_()
            sums += torch.stack([(loss * (kind == number)).sum() for number in range(IGNORED)])
            # d(-log(W + e)) / dd = W / (W + e), and d(-log(1 - W + e)) / dd = -W / (1 - W + e).
            slope = torch.where(negative, -affinity, affinity) / likelihood * weight[kind]
            step = difference.sign_().mul_(slope[:, None] / embedding.shape[1])
            gradient[source].add_(step)
            gradient[target].sub_(step)
        ctx.save_for_backward(gradient)
        terms = sums / sizes[:IGNORED]
        total = terms[BACKGROUND] / 4 + terms[FOREGROUND] / 4 + terms[NEGATIVE] / 2
        ctx.mark_non_differentiable(terms)
        return total, terms

    @staticmethod
    def backward(ctx: Any, slope: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return slope * gradient, None, None


def _kinds_of_pairs(class_map: Tensor, radius: int) -> Tensor:
    """Kind of every pair, int64 (P, B, h, w)."""
    window = sources(radius, *class_map.shape[1:])
    of_same, of_different = kinds(class_map)
    source = (..., *window)
    targets = [(..., *shifted(window, offset)) for offset in offsets(radius)]
    return torch.stack(
        [
            torch.where(
                class_map[source] == class_map[target],
                of_same[source],
                torch.maximum(of_different[source], of_different[target]),
            )
            for target in targets
        ]
    ).long()
