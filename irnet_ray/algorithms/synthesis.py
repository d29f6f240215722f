"""Instance and semantic labels from attention, class boundary and displacement field (paper 5.2, 6.2).

Shape legend, also for suffixes of names: K tags of the image; H, W image pixels; h, w grid cells at stride 4;
N instances; P pairs of a class and a group of cells.

The plain form walks one map per class and group of cells. The walk is linear and keeps signs, so the map of a whole
class is the sum of its groups' maps, and an upper bound for each of them. So groups are walked from the largest down.
The rest of a class is dropped without a walk once it cannot win any pixel. The hundreds of groups of a noisy field
then cost little.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from irnet_ray.algorithms.attention import upsample
from irnet_ray.algorithms.displacement import instance_map
from irnet_ray.algorithms.maps import MAX_TAGS, STRIDE
from irnet_ray.algorithms.walk import random_walk

STRICTER = 2.0  # factor of the threshold; a stable mask hardly shrinks under it

# Maps walked at once, besides those of the classes. On a CPU each map costs, so few are walked in vain; on a GPU each
# call costs.
_CPU_CHUNK = 4
_GPU_CHUNK = 16

Pair = tuple[int, int]  # of a class and a group of cells
Part = tuple[int, tuple[slice, ...], np.ndarray]  # number, bounding box, and bool mask inside it


class Instances(NamedTuple):
    """Instance labels of one image in order of class, on the device of the attention maps."""

    masks: Tensor  # bool (N, H, W), disjoint
    class_index: Tensor  # int64 (N,), 0-based into the image's tags
    score: Tensor  # float32 (N,) in [0, 1], for ranking
    stability: Tensor  # float32 (N,) in [0, 1], IoU of the mask with the mask at STRICTER times the threshold


class Labels(NamedTuple):
    """Both kinds of labels of one image."""

    instances: Instances
    semantic: Tensor  # uint8 (H, W): 0 background, 1..K the image's own tags in order


def labels(
    cams: Tensor,
    boundary: Tensor,
    field: Tensor,
    image_size: tuple[int, int],
    *,
    background: float,
    min_area_fraction: float,
    per_class: bool,
    every_tag: bool,
    score: Literal["peak", "extent"],
    iterations: int,
    threshold: float,
    radius: int,
    beta: float,
    steps: int,
) -> Labels:
    """Instance and semantic labels of an image from the same walks (Eq. 11, paper 5.2 and 6.2).

    Args:
        cams: float (K, h, w) >= 0, the attention of the image's tags. K may be 0.
        boundary: float (h, w) in [0, 1], the class boundary map.
        field: float (2, h, w) as (dy, dx), the displacement field in cells.
        image_size: (H, W) in pixels, with h = ceil(H/4) and w = ceil(W/4).
        background: a pixel whose best score is not above this is background (paper 5.2).
        min_area_fraction: 4-connected parts under this fraction of the image's area are left out.
        per_class: divide scores by the maximum of their own class instead of the maximum over all classes
            (published), so that a weak class beside a strong one is kept.
        every_tag: if all parts of a tag are under the minimum area, keep the largest: the tag says that something
            is there.
        score: "peak", the largest class score inside the mask (published), or "extent", the mean class score
            times the root of the mask's share of the image, because larger masks are more often right.
        iterations: refinement of the field, Eq. 10.
        threshold: a displacement shorter than this, in cells, marks a centroid, Eq. 14.
        radius: of the random walk, in cells, Eq. 2.
        beta: exponent of the affinities, Eq. 12.
        steps: of the random walk, Eq. 13.

    Returns:
        `Labels(instances, semantic)`. Cells that reach no centroid form one more group. If nothing is found,
        there are no instances, and the semantic label is all background.

    Raises:
        ValueError: shapes that do not fit together, NaN, negative attention, more than 254 tags.
    """
    _check(cams, boundary, field, image_size)
    cams_Khw, boundary_hw = cams.float(), boundary.float()
    groups_hw = instance_map(field, iterations=iterations, threshold=threshold)
    walk = partial(random_walk, boundary=boundary_hw, radius=radius, beta=beta, steps=steps)
    spread_Khw, best_KHW, group_KHW = _walk_groups(
        cams_Khw, boundary_hw, groups_hw, walk, image_size, background, per_class
    )
    score_HW, tag_HW = _best(_normalized(best_KHW, per_class))
    # One number per class and group, in order of class; 0 is background.
    group_count = int(groups_hw.max()) + 1
    winner_HW = (tag_HW - 1) * group_count + 1
    if len(cams):
        winner_HW += group_KHW.gather(0, (tag_HW - 1)[None])[0]
    winner_HW = torch.where(score_HW > background, winner_HW, 0)
    found = _parts(score_HW, winner_HW, group_count, min_area_fraction, background, every_tag=every_tag, score=score)
    return Labels(found, walked_semantic(spread_Khw, image_size, background=background, per_class=per_class))


def walked_semantic(walked: Tensor, image_size: tuple[int, int], *, background: float, per_class: bool) -> Tensor:
    """Semantic label from walked class maps float (K, h, w) (paper 6.2).

    Returns uint8 (H, W): 0 background, 1..K the image's own tags in order.
    """
    return _thresholded(_normalized(upsample(walked, image_size), per_class), background)


def cam_instances(cams_full: Tensor, *, threshold: float, min_area_fraction: float) -> Instances:
    """Instance labels from attention only: the baseline "CAM" of paper 6.2, Table 1.

    Args:
        cams_full: float (K, H, W) in [0, 1].
        threshold: a pixel whose best class is not above this is background.
        min_area_fraction: 4-connected parts under this fraction of the image's area are left out.

    Raises:
        ValueError: not (K, H, W), NaN, negative attention, or more than 254 tags.
    """
    _check_cams(cams_full)
    score, tag = _best(cams_full.float())
    winner = torch.where(score > threshold, tag, 0)
    return _parts(score, winner, 1, min_area_fraction, threshold, every_tag=False, score="peak")


def cam_semantic(cams_full: Tensor, *, threshold: float) -> Tensor:
    """Semantic label from attention only: uint8 (H, W), 0 background, 1..K the image's tags in order.

    Args:
        cams_full: float (K, H, W) in [0, 1].
        threshold: a pixel whose best class is not above this is background.

    Raises:
        ValueError: not (K, H, W), NaN, negative attention, or more than 254 tags.
    """
    _check_cams(cams_full)
    return _thresholded(cams_full.float(), threshold)


def _thresholded(scores_KHW: Tensor, threshold: float) -> Tensor:
    """Number 1..K of the best class if it is above the threshold, else 0 ▶ uint8 (H,W)."""
    score_HW, tag_HW = _best(scores_KHW)
    return torch.where(score_HW > threshold, tag_HW, 0).to(torch.uint8)


def _walk_groups(
    cams_Khw: Tensor,
    boundary_hw: Tensor,
    groups_hw: Tensor,
    walk: Callable[[Tensor], Tensor],
    image_size: tuple[int, int],
    background: float,
    per_class: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk the map of each class, and the maps of its groups that may win a pixel (Eq. 11).

    Returns:
        `spread_Khw`: the walked class maps. `best_KHW`: the largest score over each class's groups, correct
        wherever it can win. `group_KHW`: int32, the number of that group.
    """
    best_KHW = cams_Khw.new_zeros((len(cams_Khw), *image_size))
    group_KHW = torch.zeros_like(best_KHW, dtype=torch.int32)
    waiting, last = _by_mass(cams_Khw * (1 - boundary_hw), groups_hw)
    if not last:
        return torch.zeros_like(cams_Khw), best_KHW, group_KHW
    chunk, waiting = _take(waiting, cams_Khw.device)
    walked_Phw = walk(torch.cat([cams_Khw, _group_maps(cams_Khw, groups_hw, chunk)]))
    spread_Khw, walked_Phw = walked_Phw.split([len(cams_Khw), len(chunk)])
    rest_Khw = spread_Khw.clone()  # for each class, the sum of the groups not yet walked
    while last:
        for (k, number), score_hw in zip(chunk, walked_Phw, strict=True):
            rest_Khw[k] -= score_hw
            _enter(best_KHW[k], group_KHW[k], number, upsample(score_hw[None], image_size)[0])
        # The rest can be dropped if every pixel already has a higher score, or the rest is below the background there.
        rivals_KHW = best_KHW if per_class else best_KHW.amax(dim=0).expand_as(best_KHW)
        for k, number in list(last.items()):
            bar_HW = rivals_KHW[k].clamp(min=background * float(rivals_KHW[k].max()))
            rest_HW = upsample(rest_Khw[k : k + 1], image_size)[0]
            if bool((rest_HW <= bar_HW).all()):
                del last[k]
            elif all(k != other for other, _ in waiting):
                _enter(best_KHW[k], group_KHW[k], number, rest_HW)
                del last[k]
        if last:
            chunk, waiting = _take([pair for pair in waiting if pair[0] in last], cams_Khw.device)
            walked_Phw = walk(_group_maps(cams_Khw, groups_hw, chunk))
    return spread_Khw, best_KHW, group_KHW


def _by_mass(seeds_Khw: Tensor, groups_hw: Tensor) -> tuple[list[Pair], dict[int, int]]:
    """Pairs (class, group) that hold any seeds, the heaviest first, without the lightest group of each class.

    Those are returned as {class: group}. They need no walk: they are the class's map minus its other groups.
    """
    count = int(groups_hw.max()) + 1
    mass = seeds_Khw.new_zeros((len(seeds_Khw), count))
    mass = mass.index_add_(1, groups_hw.flatten(), seeds_Khw.flatten(1)).flatten()
    order = mass.argsort(descending=True, stable=True)[: int((mass > 0).sum())].tolist()
    pairs = [divmod(number, count) for number in order]
    last = dict(pairs)  # later pairs of a class replace the earlier
    return [(k, number) for k, number in pairs if last[k] != number], last


def _take(pairs: list[Pair], device: torch.device) -> tuple[list[Pair], list[Pair]]:
    """The pairs to walk next, and the rest."""
    size = _CPU_CHUNK if device.type == "cpu" else _GPU_CHUNK
    return pairs[:size], pairs[size:]


def _group_maps(cams_Khw: Tensor, groups_hw: Tensor, pairs: list[Pair]) -> Tensor:
    """Attention of class k inside group g, for each pair (k, g) ▶ (len(pairs), h, w)."""
    k, number = torch.tensor(pairs, dtype=torch.int64, device=cams_Khw.device).reshape(-1, 2).T
    return cams_Khw[k] * (groups_hw == number[:, None, None])


def _enter(best_HW: Tensor, group_HW: Tensor, number: int, score_HW: Tensor) -> None:
    """Assign `number` to the pixels where its walked map scores higher than the best so far, in place."""
    group_HW.masked_fill_(score_HW > best_HW, number)
    torch.maximum(best_HW, score_HW, out=best_HW)


def _best(scores_KHW: Tensor) -> tuple[Tensor, Tensor]:
    """The largest score of each pixel and its number 1..K ▶ (H,W), int64 (H,W); zeros where K is 0."""
    if not len(scores_KHW):
        nothing = scores_KHW.new_zeros(scores_KHW.shape[1:])
        return nothing, nothing.long()
    score_HW, index_HW = scores_KHW.max(dim=0)
    return score_HW, index_HW + 1


def _normalized(scores_KHW: Tensor, per_class: bool) -> Tensor:
    """Scores divided by the maximum of their class, or of all classes; zero stays zero."""
    peak = scores_KHW.amax(dim=(1, 2), keepdim=True)
    if not per_class and len(scores_KHW):
        peak = peak.max()
    return scores_KHW / peak.clamp(min=torch.finfo(scores_KHW.dtype).tiny)


def _parts(
    score_HW: Tensor,
    winner_HW: Tensor,
    groups: int,
    min_area_fraction: float,
    threshold: float,
    *,
    every_tag: bool,
    score: Literal["peak", "extent"],
) -> Instances:
    """4-connected parts of each number in `winner_HW`.

    Args:
        score_HW: float32.
        winner_HW: int64, 0 background; numbers 1..groups belong to class 0, the next to class 1, and so on.
        groups: how many numbers each class has.
        min_area_fraction: parts under this fraction of the image are left out.
        threshold: every pixel of `winner_HW` scores above it.
        every_tag, score: as in `labels`.
    """
    numbers, scores = winner_HW.cpu().numpy(), score_HW.cpu().numpy()
    parts = _connected(numbers, max(min_area_fraction * numbers.size, 1), groups if every_tag else 0)
    masks = np.zeros((len(parts), *numbers.shape), bool)
    values, stability = np.zeros(len(parts), np.float32), np.zeros(len(parts), np.float32)
    for place, (_, box, part) in enumerate(parts):
        masks[place][box] = part
        inside = scores[box][part]
        values[place] = inside.max() if score == "peak" else inside.mean() * np.sqrt(inside.size / numbers.size)
        # The stricter mask lies inside the mask, so its share of the pixels is their IoU.
        stability[place] = np.mean(inside > STRICTER * threshold)
    class_index = np.array([(number - 1) // groups for number, _, _ in parts], np.int64)
    return Instances(*(torch.from_numpy(x).to(score_HW.device) for x in (masks, class_index, values, stability)))


def _connected(numbers_HW: np.ndarray, least: float, groups: int) -> list[Part]:
    """4-connected parts of at least `least` pixels, in order of number.

    If `groups`, the numbers per class, is not 0, a class with only smaller parts keeps its largest.
    """
    kept: list[Part] = []
    small: dict[int, Part] = {}  # the largest part under `least` of each class
    boxes = ndimage.find_objects(numbers_HW)
    areas = np.bincount(numbers_HW.ravel(), minlength=1)[1:]
    for number in (np.flatnonzero(areas >= (1 if groups else least)) + 1).tolist():
        labeled, _ = ndimage.label(numbers_HW[boxes[number - 1]] == number)  # the default structure is 4-connected
        sizes = np.bincount(labeled.ravel())[1:]
        large = (np.flatnonzero(sizes >= least) + 1).tolist()
        kept += [(number, boxes[number - 1], labeled == part) for part in large]
        if groups and not large:
            part = (number, boxes[number - 1], labeled == int(sizes.argmax()) + 1)
            small[(part[0] - 1) // groups] = max(
                part, small.get((part[0] - 1) // groups, part), key=lambda p: int(p[2].sum())
            )
    if groups:
        have = {(part[0] - 1) // groups for part in kept}
        kept += [part for class_index, part in small.items() if class_index not in have]
    return sorted(kept, key=lambda part: part[0])


def _check_cams(cams: Tensor) -> None:
    if cams.ndim != 3 or not cams.is_floating_point():
        raise ValueError(f"Expected float cams (K, height, width), got {cams.dtype} {tuple(cams.shape)}.")
    if len(cams) > MAX_TAGS:
        raise ValueError(
            f"Expected at most {MAX_TAGS} tags in an image (its semantic label is uint8), got {len(cams)}."
        )
    if not bool((torch.isfinite(cams) & (cams >= 0)).all()):
        raise ValueError("The cams hold NaN, infinity or negative numbers; expected attention in [0, 1].")


def _check(cams: Tensor, boundary: Tensor, field: Tensor, image_size: tuple[int, int]) -> None:
    _check_cams(cams)
    height, width = image_size
    grid = (-(-height // STRIDE), -(-width // STRIDE))
    if height < 1 or width < 1 or tuple(cams.shape[1:]) != grid:
        raise ValueError(
            f"Expected cams at stride {STRIDE} of the {height} x {width} image, (K, {grid[0]}, {grid[1]}), "
            f"got {tuple(cams.shape)}."
        )
    if tuple(boundary.shape) != grid:
        raise ValueError(f"Expected a boundary of shape {grid} like the cams, got {tuple(boundary.shape)}.")
    if not bool(((boundary >= 0) & (boundary <= 1)).all()):
        raise ValueError("The boundary holds NaN or numbers outside [0, 1]; expected probabilities.")
    if tuple(field.shape) != (2, *grid):
        raise ValueError(f"Expected a displacement field (2, {grid[0]}, {grid[1]}), got {tuple(field.shape)}.")
