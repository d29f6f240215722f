"""Fragments of one object put together again: centroids scatter where a displacement field is unsure.

Shape legend: h w grid cells (stride 4).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from irnet_ray.algorithms.displacement import centroids


def merged(groups_hw: Tensor, field_2hw: Tensor, share: float, iterations: int = 100) -> Tensor:
    """Merge neighbouring groups of an instance map between which the field hardly jumps.

    Across the border of two objects a right field jumps by the distance of their centroids: cells on one side point
    at one, on the other side at the other. Where it jumps by less than `share` of that, the border is a break in
    one object. Groups merge in chains.

    Args:
        groups_hw: int64 (h, w) of `displacement.instance_map`; 0, which reaches no centroid, is never merged.
        field_2hw: float (2, h, w), its displacement field, in cells.
        share: of the centroids' distance, above 0; 0 merges nothing.
        iterations: of the refinement of the field, Eq. 10.

    Returns:
        int64 (h, w): 0 as it was, 1..N the merged groups.
    """
    count = int(groups_hw.max()) + 1 if groups_hw.numel() else 1
    pairs, jumps = _borders(groups_hw, field_2hw.float())
    if share <= 0 or not len(pairs):
        return groups_hw
    ends_2N = centroids(field_2hw, iterations).float().flatten(1)
    index_N = groups_hw.flatten()
    sums = ends_2N.new_zeros(2, count).index_add_(1, index_N, ends_2N)
    places_2G = (sums / torch.bincount(index_N, minlength=count).clamp(min=1)).cpu().numpy()
    apart = np.linalg.norm(places_2G[:, pairs[:, 0]] - places_2G[:, pairs[:, 1]], axis=0)
    joined = pairs[jumps < share * apart]
    graph = coo_array((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(count, count))
    _, group = connected_components(graph, directed=False)
    _, numbers = np.unique(group, return_inverse=True)  # in order of the components, group 0's first
    return torch.from_numpy(numbers.astype(np.int64)).to(groups_hw.device)[groups_hw]


def _borders(groups_hw: Tensor, field_2hw: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of groups that share a border, int (P, 2), and the field's mean jump across it in cells, (P,)."""
    keys, jumps = [], []
    for first, second in ((np.s_[..., :, :-1], np.s_[..., :, 1:]), (np.s_[..., :-1, :], np.s_[..., 1:, :])):
        one, other = groups_hw[first], groups_hw[second]
        border = (one != other) & (one > 0) & (other > 0)
        keys.append(torch.stack([torch.minimum(one, other)[border], torch.maximum(one, other)[border]], dim=1))
        jumps.append((field_2hw[first] - field_2hw[second]).norm(dim=0)[border])
    pairs, index, counts = np.unique(torch.cat(keys).cpu().numpy(), axis=0, return_inverse=True, return_counts=True)
    sums = np.bincount(index.ravel(), weights=torch.cat(jumps).cpu().numpy(), minlength=len(pairs))
    return pairs, sums / np.maximum(counts, 1)
