"""Instance centroids and the class-agnostic instance map from a displacement field (paper 5.1, A.1).

Shape legend: H W grid cells (the network's stride 4). A field is (2,H,W) as (dy,dx), in cells.
"""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import grid_sample

_CHECK_EVERY = 10  # steps between checks whether anything still moves; a check waits for the GPU


def centroids(field: Tensor, *, iterations: int) -> Tensor:
    """Where each pixel ends when it follows the field (Eq. 10).

    Each step adds the field at the current position, read bilinearly, and stays inside the image.

    Args:
        field: float (2, H, W) as (dy, dx), in cells.
        iterations: number of steps, starting at the pixel itself.

    Returns:
        int64 (2, H, W) as (y, x), rounded to the nearest cell, on the field's device.

    Raises:
        ValueError: a field that is not (2, H, W), not floating point or not finite, or iterations < 0.
    """
    _check(field, iterations)
    height, width = field.shape[1:]
    if not height * width:
        return field.new_zeros(field.shape, dtype=torch.int64)
    # In grid_sample's coordinates (x, y), -1 and 1 are the centres of the first and the last cell; a side of one cell
    # has only -1. Outside the image it reads the border's value, just like clipping the position first.
    cells = torch.tensor([width - 1, height - 1], dtype=torch.float32, device=field.device) / 2
    step = field.detach().float()[[1, 0]] / cells.clamp(min=0.5)[:, None, None]
    x = torch.linspace(-1, 1, width, device=field.device).expand(height, width)
    y = torch.linspace(-1, 1, height, device=field.device)[:, None].expand(height, width)
    position = torch.stack([x, y])  # in planes, like the field: adding mixed layouts would take half of the time
    here = position.permute(1, 2, 0)[None]  # a view
    for iteration in range(iterations):
        look = iteration % _CHECK_EVERY == _CHECK_EVERY - 1
        before = position.clone() if look else position
        position += grid_sample(step[None], here, "bilinear", "border", align_corners=True)[0]
        position.clamp_(-1, 1)
        if look and torch.equal(before, position):
            break
    return ((position + 1) * cells[:, None, None]).round().long()[[1, 0]]


def instance_map(field: Tensor, *, iterations: int, threshold: float) -> Tensor:
    """Number of the instance that each pixel belongs to (Eq. 14, 15).

    Pixels whose displacement is shorter than `threshold` are candidate centroids. Each 4-connected group of them is
    one centroid. A pixel belongs to the centroid where it ends.

    Args:
        field: float (2, H, W) as (dy, dx), in cells.
        iterations: of the refinement, Eq. 10.
        threshold: length in cells.

    Returns:
        int64 (H, W) on the field's device: 0 for pixels that reach no centroid, 1..N for the centroids reached.

    Raises:
        ValueError: as `centroids`.
    """
    end_y, end_x = centroids(field, iterations=iterations)
    candidates = torch.hypot(*field.float()) < threshold
    parts, _ = ndimage.label(candidates.cpu().numpy())  # the default structure is 4-connected
    reached = np.asarray(parts)[end_y.cpu().numpy(), end_x.cpu().numpy()]
    # Renumber without gaps. 0 stays reserved for "no centroid" even if every pixel reaches one.
    numbers, index = np.unique(np.append(reached.ravel(), 0), return_inverse=True)
    return torch.from_numpy(index[:-1].reshape(reached.shape)).to(field.device)


def _check(field: Tensor, iterations: int) -> None:
    if field.ndim != 3 or field.shape[0] != 2 or not field.is_floating_point():
        raise ValueError(f"Expected a float displacement field (2, H, W), got {field.dtype} {tuple(field.shape)}.")
    if not bool(torch.isfinite(field).all()):
        raise ValueError("The displacement field holds NaN or infinity; expected finite displacements in cells.")
    if iterations < 0:
        raise ValueError(f"Expected iterations >= 0, got {iterations}.")
