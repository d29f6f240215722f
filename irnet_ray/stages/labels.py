"""Stage 5: instance and semantic labels from seeds, boundaries and displacements (paper 5)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import NamedTuple

import numpy as np
import torch

from irnet_ray import tables
from irnet_ray.algorithms import synthesis
from irnet_ray.algorithms.walk import random_walk
from irnet_ray.config.load import Config
from irnet_ray.engine.mapping import MapStage
from irnet_ray.masks import decode_attention
from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.batch_norm import fold_batch_norm
from irnet_ray.networks.inference import for_inference, precision, seen_size, to_network
from irnet_ray.networks.irnet import IRNet
from irnet_ray.networks.weights import load_weights
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.images import load
from irnet_ray.stages.rows import Masks, labels_row, no_masks
from irnet_ray.tables import Row

# Pixels in one pass of a GPU, at the size that IRNet sees: eight photos of 500x375 pixels, scaled by 1.33. On an H100,
# a pass of 8 images, mirror images included, has five times the rate of a pass of 2; a pass of 32 has six times. On a
# CPU, whose cache one photo's layers fill, 8 photos together take 1.5 times as long as one by one.
GPU_PIXELS = 8 * 672 * 496


class Relations(NamedTuple):
    """IRNet's output for one image, float32: boundary (h, w) in [0, 1] and field (2, h, w) in cells of stride 4."""

    boundary: torch.Tensor
    field: torch.Tensor


def stage(config: Config, images: Shards, seeds: Shards, irnet: Folder, fingerprint: str) -> MapStage:
    """Make labels for every image that has seeds. `fingerprint` goes into each row."""
    return MapStage(
        name="labels",
        schema=tables.LABELS,
        sources=(images, seeds),
        load=partial(load, max_side=config.max_side, window=config.window),
        network=partial(LabelsNetwork, config, find_backbone(config.backbone), irnet),
        finish=partial(labels_row, fingerprint),
    )


class LabelsNetwork:
    """The trained IRNet and the label synthesis on one device. The walk runs on the network's device."""

    def __init__(self, config: Config, backbone: Backbone, weights: Folder, gpu: bool) -> None:
        self.knobs = config.labels
        middle = config.irnet.middle_scale
        self.scales = [middle, *(scale * middle for scale in self.knobs.boundary_scales)]
        self.device = torch.device("cuda" if gpu else "cpu")
        self.pixels = GPU_PIXELS if gpu else 0
        network = IRNet(backbone, config.irnet.contrast)
        fold_batch_norm(network.backbone.eval())  # it was trained and saved so
        load_weights(network, weights.read(WEIGHTS), weights.location)
        self.network = for_inference(network, self.device)
        # On a GPU this compiles the walk. Without a compiler the stage stops here, instead of failing every image.
        nothing, knobs = torch.zeros(1, 8, 8, device=self.device), self.knobs
        random_walk(nothing, nothing[0], radius=knobs.radius, beta=knobs.beta, steps=knobs.steps)

    def batches(self, images: list[np.ndarray]) -> list[list[int]]:
        """Group images that IRNet sees at the same sizes, within the pixels of one pass. Returns places in the list."""
        alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
        for place, image in enumerate(images):
            alike.setdefault(tuple(seen_size(image.shape[:2], scale) for scale in self.scales), []).append(place)
        groups = []
        for sizes, places in alike.items():
            most = max(1, self.pixels // max(height * width for height, width in sizes))
            groups += [places[n : n + most] for n in range(0, len(places), most)]
        return groups

    @torch.inference_mode()
    def relations(self, images: Sequence[np.ndarray]) -> list[Relations]:
        """Boundary map and displacement field of the images of one batch, each uint8 (H, W, 3).

        The boundary is the maximum over the scales, because the walk leaks through every gap. The field is the mean,
        because noise differs from scale to scale.

        Raises:
            FloatingPointError: the network's output is not finite.
            RuntimeError: the network sees the images at different sizes.
        """
        given = [to_network(image, self.device) for image in images]
        with precision(self.device):
            at_scales = [self.network.predict(given, scale) for scale in self.scales]
        found = []
        for boundaries, fields in (zip(*answers, strict=True) for answers in zip(*at_scales, strict=True)):
            found.append(Relations(reduce(torch.maximum, boundaries), sum(fields[1:], fields[0]) / len(fields)))
        if not torch.stack([torch.isfinite(tensor).all() for each in found for tensor in each]).all():
            raise FloatingPointError("IRNet's output is not finite: its weights are broken.")
        return found

    @torch.inference_mode()
    def synthesize(self, attention_Khw: np.ndarray, relations: Relations, size: tuple[int, int]) -> Masks:
        """Eq. 10 to 15: labels of an image of (H, W) pixels from its attention and IRNet's output."""
        knobs = self.knobs
        longest = float(torch.hypot(*relations.field).max())  # torch.norm takes ten times as long
        found = synthesis.labels(
            torch.from_numpy(attention_Khw).to(self.device),
            relations.boundary,
            relations.field,
            size,
            background=knobs.background,
            min_area_fraction=knobs.min_area,
            per_class=knobs.per_class,
            every_tag=knobs.every_tag,
            score=knobs.score,
            iterations=knobs.refinements,
            threshold=max(knobs.centroid, knobs.centroid_share * longest),
            radius=knobs.radius,
            beta=knobs.beta,
            steps=knobs.steps,
        )
        return Masks(*(tensor.cpu().numpy() for tensor in (*found.instances, found.semantic)))

    def run_batch(self, rows: list[Row], images: list[np.ndarray]) -> list[Masks]:
        """Labels of the images of one batch, from the attention maps of their rows.

        An image without a tag has no instance, so IRNet need not see it.
        """
        tagged = [place for place, row in enumerate(rows) if row["tags"]]
        found = self.relations([images[place] for place in tagged]) if tagged else []
        relations_of = dict(zip(tagged, found, strict=True))
        return [
            self.synthesize(decode_attention(row), relations_of[place], image.shape[:2])
            if place in relations_of
            else no_masks(image.shape[:2])
            for place, (row, image) in enumerate(zip(rows, images, strict=True))
        ]

    def __call__(self, row: Row, image_HW3: np.ndarray) -> Masks:
        """Labels of one image, from the attention maps of its row."""
        return self.run_batch([row], [image_HW3])[0]
