"""Attention from a tag's local prototypes, LPCAM (Chen and Sun, "Extracting Class Activation Maps from
Non-Discriminative Features as well", CVPR 2023).

A classifier needs only the most discriminative part of an object. The features of a tag's images form clusters: heads,
legs, fur, and the grass around. Clusters with high attention represent the object; clusters with little attention
represent its surroundings. A pixel that is similar to the first and not to the second belongs to the object.

Shape legend: N samples, D feature channels, P prototypes, h w grid cells.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.nn.functional import normalize


class Prototypes(NamedTuple):
    """Clusters of the local features of one tag's images."""

    centers: Tensor  # float32 (P, D) of unit length
    attention: Tensor  # float32 (P,), mean attention of the cluster's samples, relative to the highest cluster


def local_prototypes(features_ND: Tensor, attention_N: Tensor, count: int, seed: int = 0) -> Prototypes:
    """Cluster the local features of one tag's images by k-means on the sphere.

    Args:
        features_ND: float (N, D), any length.
        attention_N: float (N,) in [0, 1], the tag's normalized attention at each sample.
        count: number of clusters; empty ones are not returned.
        seed: for the first centers.

    Raises:
        ValueError: no samples, or shapes that do not fit together.
    """
    if features_ND.ndim != 2 or not len(features_ND) or attention_N.shape != features_ND.shape[:1]:
        raise ValueError(
            f"Expected features (N, D) and attention (N,) with N > 0, got {tuple(features_ND.shape)} and "
            f"{tuple(attention_N.shape)}."
        )
    unit_ND = normalize(features_ND.float(), dim=1)
    _, cluster = kmeans2(
        unit_ND.cpu().numpy(),
        min(count, len(unit_ND)),
        iter=15,
        minit="++",
        missing="warn",
        rng=np.random.default_rng(seed),
    )
    used, cluster = np.unique(cluster, return_inverse=True)
    index = torch.from_numpy(cluster.astype(np.int64)).to(unit_ND.device)
    centers = unit_ND.new_zeros(len(used), unit_ND.shape[1]).index_add_(0, index, unit_ND)
    sums = unit_ND.new_zeros(len(used)).index_add_(0, index, attention_N.float())
    means = sums / torch.bincount(index, minlength=len(used))
    return Prototypes(normalize(centers, dim=1), means / means.max().clamp(min=torch.finfo(means.dtype).tiny))


def prototype_attention(
    features_Dhw: Tensor, prototypes: Prototypes, foreground: float = 0.8, context: float = 0.3
) -> Tensor:
    """Attention of one tag: mean similarity to its foreground prototypes, minus the mean similarity to its context.

    Args:
        features_Dhw: float (D, h, w), any length.
        prototypes: the tag's.
        foreground: prototypes with at least this attention represent the tag; the highest always does.
        context: prototypes with less attention than this represent its surroundings.

    Returns:
        float32 (h, w) >= 0, divided by its maximum. All zero if no cell is more similar to the tag than to its context.
    """
    centers, attention = prototypes
    similar_Phw = torch.einsum("pd,dhw->phw", centers, normalize(features_Dhw.float(), dim=0)).clamp(min=0)
    like = similar_Phw[attention >= min(foreground, float(attention.max()))].mean(dim=0)
    around = attention < context
    if bool(around.any()):
        like = like - similar_Phw[around].mean(dim=0)
    like = like.clamp(min=0)
    return like / like.max().clamp(min=torch.finfo(like.dtype).tiny)
