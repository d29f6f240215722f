"""Quality of each seed method on images with truth: `python benchmarks/quality_seeds.py OUT --truth T.json`.

OUT is a finished run. Its classifier and prototypes are used as they are; nothing is trained. Attention becomes labels
without IRNet: it is cut at a threshold, and connected parts are instances. Prints Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from quality_common import Run, heading, row_of_figures
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from irnet_ray.algorithms.correlation import correlated
from irnet_ray.algorithms.prototypes import Prototypes, prototype_attention
from irnet_ray.algorithms.seed_methods import METHODS
from irnet_ray.evaluation.measure import InstanceMeasure, SemanticMeasure
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.inference import to_network
from irnet_ray.stages.images import load_image
from irnet_ray.stages.seeds import LEVELS, SeedsNetwork

THRESHOLDS = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55)
PUBLISHED = 0.25


class Seen(NamedTuple):
    """The input of the methods for an image: CAM (K, h, w) at stride 4, three levels of features, prototypes by tag."""

    cam: Tensor
    levels: list[Tensor]
    prototypes: list[Prototypes]

    @property
    def coarse(self) -> Tensor:
        return interpolate(self.cam[None], self.levels[-1].shape[1:], mode="bilinear", antialias=True)[0]

    def from_prototypes(self) -> Tensor:
        return torch.stack([prototype_attention(self.levels[-1], known) for known in self.prototypes])


def own_prototypes(seen: Seen) -> Tensor:
    """Similarity to the image's own attended pixels minus similarity to unattended ones (as SIPE, CVPR 2022)."""
    unit_DN = normalize(seen.levels[-1].flatten(1), dim=0)
    cam_KN = seen.coarse.flatten(1)
    around = normalize((unit_DN * (0.2 - cam_KN.amax(dim=0)).clamp(min=0)).sum(dim=1), dim=0)
    centers = normalize(torch.stack([(unit_DN * (cam - 0.5).clamp(min=0)).sum(dim=1) for cam in cam_KN]), dim=1)
    maps = (centers @ unit_DN - (around @ unit_DN).clamp(min=0)).clamp(min=0)
    return (maps / maps.amax(dim=1, keepdim=True).clamp(min=1e-6)).reshape(-1, *seen.levels[-1].shape[1:])


RECIPES: dict[str, Callable[[Seen], Tensor]] = {
    "CAM (`--seeds cam`)": lambda seen: seen.cam,
    "CAM, square root": lambda seen: seen.cam.sqrt(),
    "CAM + correlation (`--seeds correlation`)": lambda seen: correlated(seen.coarse, seen.levels),
    "the image's own prototypes": own_prototypes,
    "LPCAM prototypes": Seen.from_prototypes,
    "LPCAM prototypes + correlation (`--seeds prototypes`)": lambda seen: correlated(
        seen.from_prototypes(), seen.levels
    ),
    "the same, correlation of the last level only": lambda seen: correlated(seen.from_prototypes(), seen.levels[-1:]),
}


def look(network: SeedsNetwork, scales: Sequence[float], row: dict[str, Any], image_HW3: np.ndarray) -> Seen:
    """The input of the methods for an image."""
    cam = torch.from_numpy(network.cam(row["tags"], image_HW3, scales))
    pair = network._levels(to_network(image_HW3, network.device), 1.0)
    levels = [((x[0] + x[1].flip(-1)) / 2).float() for x in pair[-LEVELS:]]
    return Seen(cam, levels, [p for tag in row["tags"] if (p := network._prototypes(tag)) is not None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="run directory of a finished run")
    parser.add_argument("--truth", required=True, help="COCO JSON file with the truth")
    run = Run.of(**vars(parser.parse_args()))
    class_of = {name: number for number, name in enumerate(run.vocabulary)}
    method, prototypes = METHODS[run.config.seeds.method], run.shards("prototypes")
    network = SeedsNetwork(
        run.config, find_backbone(run.config.backbone), method, class_of, run.stage("classifier"), prototypes, gpu=False
    )
    measures = {
        (name, threshold): (InstanceMeasure(run.truth), SemanticMeasure(run.truth))
        for name in RECIPES
        for threshold in THRESHOLDS
    }
    for row in run.rows("images"):
        with torch.inference_mode():
            seen = look(network, run.config.seeds.scales, row, load_image(row["uri"], run.config.max_side))
            for name, recipe in RECIPES.items():
                attention = interpolate(recipe(seen)[None], seen.cam.shape[1:], mode="bilinear")[0]
                for threshold in THRESHOLDS:
                    run.measure_attention(measures[name, threshold], row, attention, threshold)
    print(heading("seed method", "best threshold", "mIoU there"))
    for name in RECIPES:
        scores = {t: run.scores(measures[name, t]) for t in THRESHOLDS}
        best = max(THRESHOLDS, key=lambda t: scores[t].figures["miou"].value)
        print(row_of_figures(name, scores[PUBLISHED], str(best), f"{100 * scores[best].figures['miou'].value:.1f}"))


if __name__ == "__main__":
    main()
