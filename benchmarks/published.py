"""IRNet's method as a plain implementation of its paper (Ahn, Cho, Kwak, CVPR 2019), the benchmarks' baseline.

It works on one image, one scale and one flip at a time. Pairs read their lines through tables of indices, the random
walk squares the dense transition matrix, NumPy follows the centroids, and every class and centroid walks its own map.
Only benchmarks and tests use this module. It uses nothing of the package, except networks that callers pass in.

Shape legend: C maps; K tags of the image; B images; H, W pixels at stride 4 unless said; N = H * W; P pairs; L pixels
of a pair's line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate

REFINEMENTS = 300  # of the centroids
CENTROID = 2.5  # cells; a shorter displacement marks a centroid
LABEL_PROBABILITY = 0.7  # that a label given to the CRF is right
UNSURE = 255
THRESHOLDS = {"foreground": 0.30, "background": 0.05}  # of the confident map


def half_disc(radius: int) -> list[tuple[int, int]]:
    """Offsets (dy, dx) of Eq. 2, each pair of pixels once: in lower rows, or to the right, and within the radius."""
    found = []
    for dy in range(radius):
        for dx in range(1 - radius, radius):
            if dy**2 + dx**2 < radius**2 and (dy, dx) > (0, 0):
                found.append((dy, dx))
    return found


def line(dy: int, dx: int) -> list[tuple[int, int]]:
    """Pixels (y, x) on the line from (0, 0) to (dy, dx), Pi of Eq. 7: in their box, and less than 1 from the line."""
    length = np.hypot(dy, dx)
    return [
        (y, x)
        for y in range(dy + 1)
        for x in range(min(dx, 0), max(dx, 0) + 1)
        if abs(dy * x - dx * y) / length < 1 - 1e-9
    ]


def gathered_affinities(boundary_BHW: Tensor, pair: tuple[int, int], sources_S: Tensor) -> Tensor:
    """Eq. 7 for one offset: gather every pixel of every line by its index, then take the largest ▶ (B, S)."""
    width = boundary_BHW.shape[2]
    steps_L = torch.tensor([y * width + x for y, x in line(*pair)], device=boundary_BHW.device)
    return 1 - boundary_BHW.flatten(1)[:, sources_S[:, None] + steps_L].amax(dim=2)


def transition_matrix(boundary_HW: Tensor, radius: int = 5, beta: float = 10) -> Tensor:
    """T of Eq. 12, dense (N, N)."""
    height, width = boundary_HW.shape
    numbers_HW = torch.arange(height * width, device=boundary_HW.device).view(height, width)
    matrix_NN = torch.eye(height * width, device=boundary_HW.device)
    for dy, dx in half_disc(radius):
        inside = numbers_HW[: max(height - dy, 0), max(-dx, 0) : max(min(width - dx, width), 0)].flatten()
        weight = gathered_affinities(boundary_HW[None], (dy, dx), inside)[0].pow(beta)
        partner = inside + dy * width + dx
        matrix_NN[inside, partner] = weight
        matrix_NN[partner, inside] = weight
    return matrix_NN.div_(matrix_NN.sum(dim=1, keepdim=True))


def random_walk(
    scores_CHW: Tensor, boundary_HW: Tensor, radius: int = 5, beta: float = 10, squarings: int = 8
) -> Tensor:
    """Eq. 13: square T eight times for 256 steps, and apply it to (scores * (1 - boundary))."""
    matrix_NN = transition_matrix(boundary_HW, radius, beta)
    for _ in range(squarings):
        matrix_NN = matrix_NN @ matrix_NN
    return ((scores_CHW * (1 - boundary_HW)).flatten(1) @ matrix_NN.T).view_as(scores_CHW)


def centroids(field_2HW: np.ndarray, iterations: int = REFINEMENTS) -> np.ndarray:
    """Eq. 10 in NumPy: every pixel follows the field, read bilinearly, and stays in the image ▶ int (2, H, W)."""
    height, width = field_2HW.shape[1:]
    y, x = (axis.astype(np.float32) for axis in np.mgrid[:height, :width])
    for _ in range(iterations):
        top, left = np.floor(y).astype(np.int64), np.floor(x).astype(np.int64)
        bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
        down, across = y - top, x - left
        step = (
            field_2HW[:, top, left] * (1 - down) * (1 - across)
            + field_2HW[:, top, right] * (1 - down) * across
            + field_2HW[:, bottom, left] * down * (1 - across)
            + field_2HW[:, bottom, right] * down * across
        )
        y, x = np.clip(y + step[0], 0, height - 1), np.clip(x + step[1], 0, width - 1)
    return np.stack([np.round(y), np.round(x)]).astype(np.int64)


def instance_map(field_2HW: np.ndarray, iterations: int = REFINEMENTS, threshold: float = CENTROID) -> np.ndarray:
    """Eq. 14, 15: group pixels by the 4-connected centroid that they reach ▶ int (H, W), 0 none, without gaps."""
    y, x = centroids(field_2HW, iterations)
    parts, _ = ndimage.label(np.hypot(*field_2HW) < threshold)
    reached = parts[y, x]
    groups = np.zeros_like(reached)
    for number, part in enumerate(sorted(set(reached[reached > 0].tolist())), start=1):
        groups[reached == part] = number
    return groups


def relation_loss(logits_B1HW: Tensor, field_B2HW: Tensor, class_map_BHW: Tensor, radius: int = 10) -> Tensor:
    """Eq. 9 by autograd over all pairs at once, with lines and ends gathered by index ▶ the total."""
    _, height, width = class_map_BHW.shape
    numbers_HW = torch.arange(height * width, device=logits_B1HW.device).view(height, width)
    sources_S = numbers_HW[: height - radius + 1, radius - 1 : width - radius + 1].flatten()
    pairs = half_disc(radius)
    steps_P = torch.tensor([dy * width + dx for dy, dx in pairs], device=logits_B1HW.device)
    targets_PS = sources_S + steps_P[:, None]
    boundary_BHW = torch.sigmoid(logits_B1HW[:, 0])
    affinity_BPS = torch.stack([gathered_affinities(boundary_BHW, pair, sources_S) for pair in pairs], dim=1)
    kinds_BN = class_map_BHW.flatten(1).long()
    one, other = kinds_BN[:, None, sources_S], kinds_BN[:, targets_PS]
    known, alike = (one != UNSURE) & (other != UNSURE), one == other
    background, foreground = known & alike & (one == 0), known & alike & (one > 0)

    def mean(values: Tensor, chosen: Tensor) -> Tensor:
        return (values * chosen).sum() / chosen.sum().clamp(min=1)

    same, different = -(affinity_BPS + 1e-5).log(), -(1 - affinity_BPS + 1e-5).log()
    boundary = mean(same, background) / 2 + mean(same, foreground) / 2 + mean(different, known & ~alike)
    field_B2N = field_B2HW.flatten(2)
    moved_B2PS = field_B2N[:, :, None, sources_S] - field_B2N[:, :, targets_PS]
    apart_2P1 = torch.tensor(pairs, device=field_B2N.device, dtype=field_B2N.dtype).T[:, :, None]
    displaced = mean((moved_B2PS - apart_2P1).abs().mean(dim=1), foreground)
    still = mean(moved_B2PS.abs().mean(dim=1), background)
    return boundary / 2 + (displaced + still) / 2


def crf_labels(image_HW3: np.ndarray, labels_HW: np.ndarray, count: int) -> np.ndarray:
    """A new dense CRF on a map of 0..count-1 (paper 4.2; parameters of the published code)."""
    import pydensecrf.densecrf as dcrf
    from pydensecrf.utils import unary_from_labels

    height, width = image_HW3.shape[:2]
    crf = dcrf.DenseCRF2D(width, height, count)
    crf.setUnaryEnergy(unary_from_labels(labels_HW, count, gt_prob=LABEL_PROBABILITY, zero_unsure=False))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=50, srgb=5, rgbim=np.ascontiguousarray(image_HW3), compat=10)
    return np.argmax(crf.inference(10), axis=0).reshape(height, width)


def confident_map(image_HW3: np.ndarray, cams_KHW: np.ndarray, foreground: float, background: float) -> np.ndarray:
    """4.2: one CRF per threshold. A class where the first finds one, background where both find none, else 255."""
    refined = []
    for threshold in (foreground, background):
        scores = np.concatenate([np.full((1, *cams_KHW.shape[1:]), threshold, cams_KHW.dtype), cams_KHW])
        refined.append(crf_labels(image_HW3, scores.argmax(axis=0), len(scores)))
    sure, possible = refined
    return np.where(sure > 0, sure, np.where(possible == 0, 0, UNSURE)).astype(np.uint8)


def predict(network: Any, image_13HW: Tensor) -> tuple[Tensor, Tensor]:
    """Boundary (h, w) and field (2, h, w) of IRNet, from two passes: the image and its mirror image.

    `network` returns boundary logits and field. The logits of both passes are averaged.
    """
    image_13HW = image_13HW.contiguous(memory_format=torch.channels_last)
    logits, field = network(image_13HW)
    mirrored, _ = network(image_13HW.flip(-1).contiguous(memory_format=torch.channels_last))
    return torch.sigmoid((logits + mirrored.flip(-1)) / 2)[0, 0], field[0]


def labels(
    cams_Khw: Tensor,
    boundary_hw: Tensor,
    field_2hw: Tensor,
    image_size: tuple[int, int],
    background: float = 0.25,
    iterations: int = REFINEMENTS,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """5.2: instance labels of an image of (H, W) pixels ▶ masks bool (M, H, W), tags int (M,), scores (M,)."""
    height, width = image_size
    groups_hw = torch.from_numpy(instance_map(field_2hw.cpu().numpy(), iterations)).to(cams_Khw.device)
    count = int(groups_hw.max()) + 1
    # Eq. 11, one map for each class and group.
    split = torch.stack([cam * (groups_hw == group) for cam in cams_Khw for group in range(count)])
    walked = random_walk(split, boundary_hw)
    scores = interpolate(walked[None], scale_factor=4, mode="bilinear", align_corners=False)[0, :, :height, :width]
    scores = (scores / scores.max().clamp(min=1e-20)).cpu().numpy()
    best, winner = scores.max(axis=0), scores.argmax(axis=0)
    masks, tags, values = [], [], []
    for number in range(len(scores)):
        parts, found = ndimage.label((winner == number) & (best > background))
        for part in range(1, found + 1):
            mask = parts == part
            if mask.sum() >= 0.01 * height * width:
                masks.append(mask)
                tags.append(number // count)
                values.append(best[mask].max())
    return np.array(masks, bool).reshape(-1, height, width), np.array(tags, int), np.array(values)
