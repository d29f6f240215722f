"""Train AffinityNet on the same samples as IRNet, to compare the two (paper 6.1). Labeling does not run it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from irnet_ray.algorithms.affinity_loss import affinity_loss
from irnet_ray.config.load import Config
from irnet_ray.engine.schedule import Schedule
from irnet_ray.engine.task import Batch, TrainStage
from irnet_ray.networks.affinitynet import STRIDE, AffinityNet
from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.batch_norm import fold_batch_norm
from irnet_ray.networks.five_levels import STRIDES
from irnet_ray.networks.weights import load_part
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.relation_samples import RelationSamples


def stage(config: Config, images: Shards, seeds: Shards, classifier: Folder, usable: int) -> TrainStage:
    """AffinityNet's training on the `usable` images that have seeds, on the trained classifier's backbone."""
    own, irnet = config.affinitynet, config.irnet
    return TrainStage(
        name="affinitynet",
        build=partial(AffinityNetTask, config, find_backbone(config.backbone), images, seeds, classifier),
        schedule=Schedule.plan(usable, own.epochs, own.min_iterations, irnet.batch_size, irnet.power, config.seed),
        weight_decay=own.weight_decay,
    )


class AffinityNetTask:
    """Learn the embedding from pairs of pixels of the confident maps, with IRNet's crops and radius."""

    def __init__(self, config: Config, backbone: Backbone, images: Shards, seeds: Shards, classifier: Folder) -> None:
        self.rate = config.affinitynet.rate
        self.side = config.irnet.crop // STRIDE * STRIDE
        # IRNet's radius in cells of this network, which are larger.
        self.radius = max(2, config.irnet.radius * STRIDES[0] // STRIDE)
        self.samples = RelationSamples(config, images, seeds)
        self.images = len(self.samples)
        self.model = AffinityNet(backbone)
        load_part(self.model.backbone, "backbone.", classifier.read(WEIGHTS), classifier.location)
        fold_batch_norm(self.model.backbone.eval())

    def groups(self) -> list[dict[str, Any]]:
        """All layers except the backbone's."""
        return [{"params": [p for p in self.model.parameters() if p.requires_grad], "lr": self.rate}]

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        """An augmented crop of an image with its class map at stride 8."""
        return self.samples.sample(index, rng, self.side, STRIDE)

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of the affinities, over every pair within the radius."""
        image = batch["image"].float().contiguous(memory_format=torch.channels_last)
        loss = affinity_loss(model(image), batch["class_map"], self.radius)
        return loss._asdict()

    def finish(self, device: torch.device, rank: int, world: int) -> dict[str, Any]:
        """Measure nothing."""
        return {}
