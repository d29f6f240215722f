"""Inputs of known size for the speed benchmarks. The truth of generated scenes replaces the networks' output.

Shape legend: C maps; h, w grid cells at stride 4; H, W image pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from irnet_ray.scenes.generate import Scene, scene


def class_map(made: Scene) -> np.ndarray:
    """The class map of a scene, uint8 (H, W): 0 background, 1..K its tags in order."""
    found = np.zeros(made.image.shape[:2], np.uint8)
    for mask, name in zip(made.masks, made.names, strict=True):
        found[mask] = made.tags.index(name) + 1
    return found


def relations(height: int, width: int, maps: int, index: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Scores (C, h, w), class boundary (h, w) and displacement field (2, h, w) like those of the networks."""
    rng = np.random.default_rng(index)
    made = scene(index, (height, width))
    classes = class_map(made)
    edges = ndimage.morphological_gradient(classes, size=2) > 0
    boundary = ndimage.gaussian_filter(edges.astype(np.float32), 0.7).clip(0, 1) + rng.uniform(0, 0.03, edges.shape)
    field = rng.normal(0, 0.3, (2, height, width))
    places = np.mgrid[:height, :width]
    for mask in made.masks:
        if mask.any():
            field[:, mask] += places[:, mask].mean(axis=1, keepdims=True) - places[:, mask]
    field = ndimage.gaussian_filter(field, (0, 1, 1))
    scores = ndimage.gaussian_filter(rng.random((maps, height, width)), (0, 5, 5)) * (0.2 + (classes > 0))
    scores = (scores - scores.min()) / (scores.max() - scores.min())
    given = (scores, np.clip(boundary, 0, 1), field)
    scores_Chw, boundary_hw, field_2hw = (torch.from_numpy(array.astype(np.float32)) for array in given)
    return scores_Chw, boundary_hw, field_2hw


def loss_batch(batch: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boundary logits (B, 1, h, w), field (B, 2, h, w) and confident maps uint8 (B, h, w) with unsure borders."""
    logits, fields, targets = [], [], []
    for index in range(batch):
        _, boundary, field = relations(side, side, 1, index)
        target = class_map(scene(index, (side, side)))
        target[ndimage.morphological_gradient(target, size=3) > 0] = 255
        # Noise, so that no two are equal: autograd splits the gradient between equal maxima, the package does not.
        noise = torch.randn(side, side, generator=torch.Generator().manual_seed(index))
        logits.append((torch.logit(boundary, 1e-3) + 0.1 * noise)[None])
        fields.append(field)
        targets.append(torch.from_numpy(target))
    return torch.stack(logits), torch.stack(fields), torch.stack(targets)


def attention(height: int, width: int, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image, uint8 (H, W, 3), and the attention of its tags, float32 (K, H, W): the truth, blurred and uneven."""
    made = scene(index, (height, width))
    classes, rng = class_map(made), np.random.default_rng(index)
    uneven = ndimage.gaussian_filter(rng.random((len(made.tags), height, width)), (0, 15, 15))
    cams = np.stack([ndimage.gaussian_filter((classes == k + 1).astype(float), 12) for k in range(len(made.tags))])
    cams = cams * uneven
    return made.image, (cams / cams.max(axis=(1, 2), keepdims=True).clip(1e-9)).astype(np.float32)
