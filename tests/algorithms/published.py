"""The paper's functions, called with the published values unless a test names others.

The package's functions have no defaults: the config holds them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from irnet_ray.algorithms import affinity_loss as affinitynet
from irnet_ray.algorithms import displacement, losses, relations, synthesis, walk

WALK: dict[str, Any] = {"radius": 5, "beta": 10, "steps": 256}
FIELD: dict[str, Any] = {"iterations": 100, "threshold": 2.5}
MASKS: dict[str, Any] = {"background": 0.25, "per_class": False}
PARTS: dict[str, Any] = {"min_area_fraction": 0.01, "every_tag": False, "score": "peak"}
CAM: dict[str, Any] = {"threshold": 0.25, "min_area_fraction": 0.01}


def random_walk(scores: Tensor, boundary: Tensor, **knobs: Any) -> Tensor:
    return walk.random_walk(scores, boundary, **{**WALK, **knobs})


def affinity_walk(scores: Tensor, pair_affinities: Tensor, **knobs: Any) -> Tensor:
    return walk.affinity_walk(scores, pair_affinities, **{**WALK, **knobs})


def centroids(field: Tensor, iterations: int = 100) -> Tensor:
    return displacement.centroids(field, iterations=iterations)


def instance_map(field: Tensor, iterations: int = 100, threshold: float = 2.5) -> Tensor:
    return displacement.instance_map(field, iterations=iterations, threshold=threshold)


def labels(*arguments: Any, **knobs: Any) -> synthesis.Labels:
    return synthesis.labels(*arguments, **{**WALK, **FIELD, **MASKS, **PARTS, **knobs})


def walked_semantic(*arguments: Any, **knobs: Any) -> Tensor:
    return synthesis.walked_semantic(*arguments, **{**MASKS, **knobs})


def cam_instances(cams: Tensor, **knobs: Any) -> synthesis.Instances:
    return synthesis.cam_instances(cams, **{**CAM, **knobs})


def cam_semantic(cams: Tensor, threshold: float = 0.25) -> Tensor:
    return synthesis.cam_semantic(cams, threshold=threshold)


def confident_map(image: np.ndarray, cams: np.ndarray, foreground: float = 0.30, background: float = 0.05) -> Any:
    return relations.confident_map(image, cams, foreground=foreground, background=background)


def relation_loss(logits: Tensor, field: Tensor, class_map: Tensor, radius: int = 10, weight: float = 1.0) -> Any:
    return losses.relation_loss(logits, field, class_map, radius, weight)


def affinity_loss(embedding: Tensor, class_map: Tensor, radius: int = 5) -> affinitynet.AffinityLoss:
    return affinitynet.affinity_loss(embedding, class_map, radius)
