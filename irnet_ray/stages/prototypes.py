"""Stage 2: the local prototypes of each tag, from a few of its images. This stage maps over tags, not images."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from irnet_ray import tables
from irnet_ray.algorithms.prototypes import Prototypes, local_prototypes
from irnet_ray.config.load import Config
from irnet_ray.engine.mapping import MapStage
from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.inference import for_inference, precision, to_network
from irnet_ray.networks.weights import load_weights
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.images import load_tag
from irnet_ray.stages.rows import prototypes_row
from irnet_ray.tables import Row

SAMPLES = 12_000  # features of a tag that are clustered; more would hardly change its prototypes


def stage(config: Config, tags: Shards, vocabulary: list[str], classifier: Folder) -> MapStage:
    """Make the prototypes of every tag with the trained classifier. `tags` is sharded by tag."""
    class_of = {name: number for number, name in enumerate(vocabulary)}
    return MapStage(
        name="prototypes",
        schema=tables.PROTOTYPES,
        sources=(tags,),
        load=partial(load_tag, max_side=config.max_side, window=config.window),
        network=partial(PrototypesNetwork, config, find_backbone(config.backbone), class_of, classifier),
        finish=prototypes_row,
        unit="tags",
    )


class PrototypesNetwork:
    """The trained classifier on one device. It turns the images of a tag into the tag's prototypes."""

    def __init__(
        self, config: Config, backbone: Backbone, class_of: dict[str, int], weights: Folder, gpu: bool
    ) -> None:
        self.count, self.seed, self.class_of = config.seeds.prototypes, config.seed, class_of
        self.device = torch.device("cuda" if gpu else "cpu")
        network = Classifier(backbone, len(class_of))
        load_weights(network, weights.read(WEIGHTS), weights.location)
        self.network = for_inference(network, self.device)

    @torch.inference_mode()
    def __call__(self, row: Row, images: list[np.ndarray]) -> Row:
        """Cluster the last level's features over the tag's images. Returns the columns that `prototypes_of` reads."""
        class_id = torch.tensor([self.class_of[row["image_id"]]], device=self.device)
        samples = [self._sample(image, class_id) for image in images]
        features_ND, attention_N = (torch.cat(part) for part in zip(*samples, strict=True))
        if not bool(torch.isfinite(features_ND).all() & torch.isfinite(attention_N).all()):
            raise FloatingPointError("The classifier's output is not finite: its weights are broken.")
        chosen = torch.linspace(0, len(features_ND) - 1, min(len(features_ND), SAMPLES)).long()
        made = local_prototypes(features_ND[chosen], attention_N[chosen], self.count, self.seed)
        return {
            "centers": made.centers.cpu().numpy().astype(np.float16).tobytes(),
            "attention": made.attention.tolist(),
        }

    def _sample(self, image_HW3: np.ndarray, class_id: Tensor) -> tuple[Tensor, Tensor]:
        """Every second cell of an image: features (N, D) and normalized attention (N,)."""
        with precision(self.device):
            features = self.network.backbone(to_network(image_HW3, self.device))[-1]
            attention = self.network.attention(features, class_id)[0].flatten()
        peak = attention.max().clamp(min=torch.finfo(attention.dtype).tiny)
        return features[0].float().flatten(1).T[::2], (attention / peak)[::2]


def prototypes_of(row: Row) -> Prototypes:
    """Decode a row of `tables.PROTOTYPES`."""
    attention = torch.tensor(row["attention"], dtype=torch.float32)
    centers = np.frombuffer(row["centers"], np.float16).reshape(len(attention), -1).astype(np.float32)
    return Prototypes(torch.from_numpy(centers), attention)
