"""Stage 5: instance and semantic labels from seeds, boundaries and displacements (paper 5)."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from irnet_ray import tables
from irnet_ray.algorithms import synthesis
from irnet_ray.algorithms.walk import random_walk
from irnet_ray.config import Config
from irnet_ray.engine.mapping import MapStage, Row
from irnet_ray.networks.backbone import fold_batch_norm
from irnet_ray.networks.inference import for_inference, precision, to_network
from irnet_ray.networks.irnet import IRNet
from irnet_ray.networks.weights import load_weights
from irnet_ray.run import Folder, Shards
from irnet_ray.stages.images import load_image, resize_map


class Relations(NamedTuple):
    """IRNet's answer for one image, float32: boundary (h, w) in [0, 1] and field (2, h, w) in cells of stride 4."""

    boundary: torch.Tensor
    field: torch.Tensor


class Masks(NamedTuple):
    """What the network step hands on for an image of working size (H, W)."""

    masks: np.ndarray  # bool (N, H, W)
    class_index: np.ndarray  # int64 (N,), into the image's tags
    score: np.ndarray  # float32 (N,)
    stability: np.ndarray  # float32 (N,)
    semantic: np.ndarray  # uint8 (H, W)


def stage(config: Config, images: Shards, seeds: Shards, irnet: Folder, fingerprint: str) -> MapStage:
    """Labels of every image that has seeds; `fingerprint` goes into each row."""
    return MapStage(
        name="labels",
        schema=tables.LABELS,
        sources=(images, seeds),
        load=partial(_load, max_side=config.max_side),
        network=partial(LabelsNetwork, config, irnet),
        finish=partial(_finish, fingerprint),
    )


def _load(row: Row, max_side: int) -> np.ndarray:
    return load_image(row["uri"], max_side)


class LabelsNetwork:
    """The trained IRNet on one device, and the label synthesis: the walk runs where the network runs."""

    def __init__(self, config: Config, weights: Folder, gpu: bool) -> None:
        self.knobs = config.labels
        self.scale = config.irnet.middle_scale
        self.device = torch.device("cuda" if gpu else "cpu")
        network = IRNet(config.backbone, config.irnet.contrast)
        fold_batch_norm(network.backbone.eval())  # as it was trained and saved
        load_weights(network, weights.read("weights.safetensors"), weights.location)
        self.network = for_inference(network, self.device)
        # On a GPU this compiles the walk: where there is no compiler the stage stops, instead of failing every image.
        random_walk(torch.zeros(1, 8, 8, device=self.device), torch.zeros(8, 8, device=self.device))

    @torch.inference_mode()
    def relations(self, image_HW3: np.ndarray) -> Relations:
        """Boundary map and displacement field of an image, uint8 (H, W, 3).

        A boundary that the network sees at any of the scales is one: the walk leaks through every gap. The field is the
        mean over the scales: what is noise at one of them is not at the other.

        Raises:
            FloatingPointError: the network's answer is not finite.
        """
        image = to_network(image_HW3, self.device)
        with precision(self.device):
            boundary, field = self.network.predict(image, self.scale)
            for scale in self.knobs.boundary_scales:
                another, moved = self.network.predict(image, scale * self.scale)
                boundary, field = torch.maximum(boundary, another), field + moved
            field = field / (1 + len(self.knobs.boundary_scales))
        if not bool(torch.isfinite(boundary).all() & torch.isfinite(field).all()):
            raise FloatingPointError("IRNet's answer is not finite: its weights are broken.")
        return Relations(boundary, field)

    @torch.inference_mode()
    def synthesize(self, attention_Khw: np.ndarray, relations: Relations, size: tuple[int, int]) -> Masks:
        """Eq. 10 to 15: labels of an image of (H, W) pixels from its seeds' attention and IRNet's answer."""
        knobs = self.knobs
        longest = float(torch.hypot(*relations.field).max())  # a norm takes ten times as long
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

    def __call__(self, row: Row, image_HW3: np.ndarray) -> Masks:
        """Labels of one image, from the attention maps of its row."""
        return self.synthesize(tables.decode_attention(row), self.relations(image_HW3), image_HW3.shape[:2])


def _finish(fingerprint: str, row: Row, value: Masks) -> Row:
    size = (row["height"], row["width"])
    return {
        **{key: row[key] for key in ("image_id", "tags", "width", "height")},
        "instances": encode_instances(row, value),
        "semantic": tables.encode_png(resize_map(value.semantic, size)),
        "fingerprint": fingerprint,
    }


def encode_instances(row: Row, found: Masks) -> list[Row]:
    """The `instances` column of an image: masks at its own size, `row` being of the images and seeds tables."""
    size = (row["height"], row["width"])
    vocabulary_of = dict(zip(row["tags"], row["class_ids"], strict=True))
    names = [row["tags"][index] for index in found.class_index]
    return [
        {
            "class_name": name,
            "class_id": vocabulary_of[name],
            "score": float(score),
            "quality": float(stability),
            **encode_mask(resize_map(mask, size)),
        }
        for mask, name, score, stability in zip(found.masks, names, found.score, found.stability, strict=True)
    ]


def encode_mask(mask_HW: np.ndarray) -> Row:
    """The `area`, `bbox` and `rle` columns of a bool (H, W) mask."""
    from pycocotools import mask as coco

    rle = coco.encode(np.asfortranarray(mask_HW, dtype=np.uint8))
    return {
        "area": int(coco.area(rle)),
        "bbox": [float(n) for n in coco.toBbox(rle)],
        "rle": rle["counts"].decode("ascii"),
    }
