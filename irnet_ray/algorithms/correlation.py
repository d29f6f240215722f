"""Attention spread over pixels with like features: the pixel correlation of SEAM (Wang et al., "Self-supervised
Equivariant Attention Mechanism for Weakly Supervised Semantic Segmentation", CVPR 2020), here on the classifier's own
features at three levels, with nothing to train.

Shape legend: K tags of the image, C channels, h w grid cells, N = h*w.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from irnet_ray.algorithms.precision import has_bfloat16

MOST_CELLS = 4096  # of the correlation's N x N matrix: 64 MiB; larger grids are correlated at a smaller size


def correlated(maps_Khw: Tensor, levels: Sequence[Tensor], squarings: int = 2) -> Tensor:
    """Each cell's attention becomes the mean over all cells, weighted by the likeness of their features.

    Args:
        maps_Khw: float (K, h, w) >= 0, at any size of the same image.
        levels: features float (C, h', w') of one image at several levels, the finest first; its grid is the answer's.
            Likeness is the mean over levels of the cosine between two cells, cut at 0.
        squarings: how often the likeness is squared: more keep attention closer to where it was.

    Returns:
        float32 (K, h', w') from 0 to 1 in each map: its least value is taken off, since a mean over all cells is
        nowhere 0, and it is squared, which brings it to the scale of a raw attention map, so that thresholds made
        for those hold. A map that is the same everywhere becomes 0.

    Raises:
        ValueError: no levels, or more than one image in them.
    """
    if not levels or any(level.ndim != 3 for level in levels):
        raise ValueError(f"Expected levels of shape (C, h, w), got {[tuple(level.shape) for level in levels]}.")
    if not len(maps_Khw):
        return maps_Khw.new_zeros((0, *levels[0].shape[1:]), dtype=torch.float32)
    grid = _grid(levels[0].shape[1:])
    like_NN = _cosines(levels[0], grid)
    for level in levels[1:]:
        like_NN += _cosines(level, grid)
    like_NN.div_(len(levels)).clamp_(min=0)
    for _ in range(squarings):  # ten times as fast as a power
        like_NN.square_()
    spread_KN = (_resized(maps_Khw, grid).flatten(1) @ like_NN) / like_NN.sum(dim=0)
    least = spread_KN.amin(dim=1, keepdim=True)
    span = spread_KN.amax(dim=1, keepdim=True) - least
    scaled = ((spread_KN - least) / span.clamp(min=torch.finfo(span.dtype).tiny)).square()
    return _resized(scaled.reshape(-1, *grid), tuple(levels[0].shape[1:]))


def _cosines(level: Tensor, grid: tuple[int, int]) -> Tensor:
    """(C,h',w') ▶ float32 (N, N): cosine between the features of every two cells of the level at the grid's size."""
    height, width = level.shape[1:]
    cells, grid_cells = height * width, grid[0] * grid[1]
    if cells >= grid_cells:
        unit_CN = normalize(_resized(level, grid).flatten(1), dim=0)
        if has_bfloat16(unit_CN.device):
            # Half the cost; 8 bits are plenty for a cosine that is then averaged over thousands of cells.
            unit_CN = unit_CN.bfloat16()
        return (unit_CN.T @ unit_CN).float()
    # Resizing is linear, so that products of the few cells can be resized instead, over one cell and then the other:
    # the same numbers, without a product of a thousand channels at the size of the grid.
    own = level.float().flatten(1)
    down, across = _resizing(height, grid[0], own.device), _resizing(width, grid[1], own.device)
    products = down @ ((own.T @ own).reshape(cells, height, width) @ across.T)
    products = across @ (down @ products.reshape(height, width * grid_cells)).reshape(grid[0], width, grid_cells)
    products = products.reshape(grid_cells, grid_cells)
    length_N = products.diagonal().clamp(min=torch.finfo(products.dtype).tiny).sqrt()
    return products.div_(length_N).div_(length_N[:, None])


def _grid(size: Sequence[int]) -> tuple[int, int]:
    """The size itself, or one of its shape with at most `MOST_CELLS` cells."""
    shrink = min(1.0, (MOST_CELLS / (size[0] * size[1])) ** 0.5)
    return max(1, int(size[0] * shrink)), max(1, int(size[1] * shrink))


def _resizing(size: int, new_size: int, device: torch.device) -> Tensor:
    """What `_resized` does along one side, as a matrix (new_size, size): a product with it is twice as fast."""
    return _resized(torch.eye(size, device=device)[:, None], (1, new_size))[:, 0].T.contiguous()


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """(C,h,w) ▶ float32 (C,*size), averaging over cells where it shrinks."""
    maps = maps.float()
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    return interpolate(maps[None], list(size), mode="bilinear", align_corners=False, antialias=True)[0]
