"""Stage 2: multi-scale class attention maps, dense CRF, confident map (paper 3 and 4.2)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from irnet_ray import tables
from irnet_ray.algorithms.attention import merge_scales
from irnet_ray.algorithms.relations import confident_map
from irnet_ray.config import Config
from irnet_ray.engine.mapping import MapStage, Row
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.inference import for_inference, precision, rescale, to_network
from irnet_ray.networks.weights import load_weights
from irnet_ray.run import Folder, Shards
from irnet_ray.stages.images import load_image


class Attention(NamedTuple):
    """What the network step hands on for an image: uint8 (H, W, 3), float32 (K, h, w) and (K, H, W)."""

    image: np.ndarray
    strided: np.ndarray
    full: np.ndarray


def stage(config: Config, images: Shards, vocabulary: list[str], classifier: Folder) -> MapStage:
    """Seeds of every image, from the weights of the classifier stage."""
    class_of = {name: number for number, name in enumerate(vocabulary)}
    return MapStage(
        name="seeds",
        schema=tables.SEEDS,
        sources=(images,),
        load=partial(_load, max_side=config.max_side),
        network=partial(SeedsNetwork, config, class_of, classifier),
        finish=partial(_finish, config, class_of),
    )


def _load(row: Row, max_side: int) -> np.ndarray:
    return load_image(row["uri"], max_side)


class SeedsNetwork:
    """The trained classifier on one device: an image to the attention maps of its own tags."""

    def __init__(self, config: Config, class_of: dict[str, int], weights: Folder, gpu: bool) -> None:
        self.scales, self.class_of = config.seeds.scales, class_of
        self.device = torch.device("cuda" if gpu else "cpu")
        network = Classifier(config.backbone, len(class_of))
        load_weights(network, weights.read("weights.safetensors"), weights.location)
        self.network = for_inference(network, self.device)

    @torch.inference_mode()
    def __call__(self, row: Row, image_HW3: np.ndarray) -> Attention:
        """Eq. 1 over all scales, each with its mirror image."""
        size = image_HW3.shape[:2]
        class_ids = torch.tensor([self.class_of[tag] for tag in row["tags"]], device=self.device)
        image = to_network(image_HW3, self.device)
        maps = []
        for scale in self.scales:
            scaled = rescale(image, scale)
            pair = torch.cat([scaled, scaled.flip(-1)]).contiguous(memory_format=torch.channels_last)
            with precision(self.device):
                attention, mirrored = self.network.attention(pair, class_ids)
            maps.append(attention + mirrored.flip(-1))
        strided, full = merge_scales(maps, size, range(len(class_ids)))
        if not bool(torch.isfinite(full).all()):
            raise FloatingPointError("The class attention map is not finite: the classifier's weights are broken.")
        return Attention(image_HW3, strided.cpu().numpy(), full.cpu().numpy())


def _finish(config: Config, class_of: dict[str, int], row: Row, value: Attention) -> Row:
    knobs = config.seeds
    mined = confident_map(value.image, value.full, knobs.foreground, knobs.background)
    return {
        "image_id": row["image_id"],
        "class_ids": [class_of[tag] for tag in row["tags"]],
        **tables.encode_cam(value.strided),
        "attention": None,
        "confident_map": tables.encode_png(mined),
    }
