"""Attention spread over pixels with similar features: the pixel correlation of SEAM (Wang et al., "Self-supervised
Equivariant Attention Mechanism for Weakly Supervised Semantic Segmentation", CVPR 2020). Here it works on the
classifier's own features at three levels, without training.

Shape legend: K tags of the image, C channels, h w grid cells, N = h*w.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from irnet_ray.algorithms.precision import has_bfloat16

MOST_CELLS = 4096  # the time grows with their square, so larger grids are correlated at a smaller size
_NOTHING = 1e-6  # share of the features' mean square; below it a square is rounding error
_FLAT = 1e-5  # share of a map's largest value; smaller differences are rounding errors


def correlated(maps_Khw: Tensor, levels: Sequence[Tensor], squarings: int = 2) -> Tensor:
    """Replace each cell's attention by the mean over all cells, weighted by the similarity of their features.

    Args:
        maps_Khw: float (K, h, w) >= 0, of the same image at any size.
        levels: features float (C, h', w') of one image at several levels, the finest first. The result has the finest
            grid. Similarity is the cosine between two cells, averaged over the levels and clipped at 0.
        squarings: how often the similarity is squared. More of them keep attention closer to where it was.

    Returns:
        float32 (K, h', w'), each map from 0 to 1. Its minimum is subtracted, because a mean over all cells is nowhere
        0. Then it is squared, which brings it to the scale of a raw attention map, so that thresholds for those
        apply. A constant map becomes 0.

    Raises:
        ValueError: no levels, or more than one image in them.
    """
    if not levels or any(level.ndim != 3 for level in levels):
        raise ValueError(f"Expected levels of shape (C, h, w), got {[tuple(level.shape) for level in levels]}.")
    if not len(maps_Khw):
        return maps_Khw.new_zeros((0, *levels[0].shape[1:]), dtype=torch.float32)
    grid = _grid(levels[0].shape[1:])
    seeds_KN = _resized(maps_Khw, grid).flatten(1)
    spread_KHW = seeds_KN.new_empty(len(seeds_KN), *grid)
    # One row of cells at a time, so that it stays in cache. Side by side, the levels' factors multiply to the sum of
    # their cosines.
    for y, factors in enumerate(zip(*(_factors(level, grid) for level in levels), strict=True)):
        lefts, rights = zip(*factors, strict=True)
        like_WN = (torch.cat(lefts, dim=1) @ torch.cat(rights)).float().clamp_(0, len(levels))
        for _ in range(squarings):  # ten times as fast as a power
            like_WN.square_()
        spread_KHW[:, y] = (seeds_KN @ like_WN.T) / like_WN.sum(dim=1)
    spread_KN = spread_KHW.flatten(1)
    least, greatest = spread_KN.amin(dim=1, keepdim=True), spread_KN.amax(dim=1, keepdim=True)
    span = torch.where(greatest - least > _FLAT * greatest, greatest - least, torch.inf)
    scaled = ((spread_KN - least) / span).square()
    return _resized(scaled.reshape(-1, *grid), tuple(levels[0].shape[1:]))


def _factors(level: Tensor, grid: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor]]:
    """(C,h,w) ▶ for each row of the grid (W,R), (R,N): their product is the cosine of the row's cells to all cells.

    The cosine is between features of the level, resized to the grid.
    """
    height, width = level.shape[1:]
    # Half the cost. 8 bits suffice for a cosine that is then averaged over thousands of cells.
    dtype = torch.bfloat16 if has_bfloat16(level.device) else torch.float32
    if height * width >= grid[0] * grid[1]:
        unit_CHW = normalize(_resized(level, grid), dim=0).to(dtype)
        yield from ((unit_CHW[:, y].T, unit_CHW.flatten(1)) for y in range(grid[0]))
        return
    # Resizing is linear. So the products of the few cells can be resized instead, along one cell and then along the
    # other. That gives the same numbers without a product of a thousand channels at the size of the grid.
    own_Cn = level.to(dtype).flatten(1)
    down_Hh, across_Ww = _resizing(height, grid[0]), _resizing(width, grid[1])
    near = [_nonzero(row) for row in down_Hh]
    down_Hh, across_Ww = down_Hh.to(own_Cn), across_Ww.to(own_Cn)
    products = down_Hh @ ((own_Cn.T @ own_Cn).reshape(-1, height, width) @ across_Ww.T)
    products_hwHW = products.reshape(height, width, *grid).float()
    down_Hh, across_Ww = down_Hh.float(), across_Ww.float()

    def row(y: int, of: Tensor) -> Tensor:
        """Row y of the grid, from a tensor of h rows: (h,w,...) ▶ (w,-1)."""
        return (down_Hh[y, near[y]] @ of[near[y]].flatten(1)).reshape(width, -1)

    own_HW = torch.stack([(across_Ww.T * row(y, products_hwHW[:, :, y])).sum(dim=0) for y in range(grid[0])])
    # Between cells of opposite features only rounding errors are left. They must not become a length or a similarity.
    least = max(float(own_HW.mean()) * _NOTHING, torch.finfo(own_HW.dtype).tiny)
    length_HW = own_HW.clamp(min=least).sqrt()
    products_hwHW /= length_HW
    for y in range(grid[0]):
        yield (across_Ww / length_HW[y, :, None]).to(dtype), row(y, products_hwHW).to(dtype)


def _grid(size: Sequence[int]) -> tuple[int, int]:
    """The size itself, or a smaller one of the same shape with at most `MOST_CELLS` cells."""
    shrink = min(1.0, (MOST_CELLS / (size[0] * size[1])) ** 0.5)
    return max(1, int(size[0] * shrink)), max(1, int(size[1] * shrink))


def _resizing(size: int, new_size: int) -> Tensor:
    """`_resized` along one side, as a matrix (new_size, size): multiplying by it is twice as fast."""
    return _resized(torch.eye(size)[:, None], (1, new_size))[:, 0].T.contiguous()


def _nonzero(row: Tensor) -> slice:
    """The range from the first to the last nonzero element of a vector."""
    places = row.nonzero()
    return slice(int(places[0]), int(places[-1]) + 1)


def _resized(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """(C,h,w) ▶ float32 (C,*size), averaging over cells when shrinking."""
    maps = maps.float()
    if tuple(maps.shape[1:]) == tuple(size):
        return maps
    return interpolate(maps[None], list(size), mode="bilinear", align_corners=False, antialias=True)[0]
