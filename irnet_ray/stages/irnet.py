"""Stage 4: train IRNet on the inter-pixel relations of the confident maps (paper 4)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from irnet_ray.algorithms.losses import relation_loss
from irnet_ray.config.load import Config
from irnet_ray.engine.schedule import Schedule
from irnet_ray.engine.task import Batch, TrainStage
from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.batch_norm import fold_batch_norm
from irnet_ray.networks.five_levels import STRIDES
from irnet_ray.networks.inference import precision, rescale, to_network
from irnet_ray.networks.irnet import IRNet
from irnet_ray.networks.weights import load_part
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.relation_samples import RelationSamples


def stage(config: Config, images: Shards, seeds: Shards, classifier: Folder, usable: int) -> TrainStage:
    """IRNet's training on the `usable` images that have seeds, starting from the classifier's backbone (4.1)."""
    knobs = config.irnet
    return TrainStage(
        name="irnet",
        build=partial(IRNetTask, config, find_backbone(config.backbone), images, seeds, classifier),
        schedule=Schedule.plan(usable, knobs.epochs, knobs.min_iterations, knobs.batch_size, knobs.power, config.seed),
        weight_decay=knobs.weight_decay,
    )


class IRNetTask:
    """Learn both branches from pairs of pixels of the confident maps."""

    def __init__(self, config: Config, backbone: Backbone, images: Shards, seeds: Shards, classifier: Folder) -> None:
        self.knobs = config.irnet
        self.samples = RelationSamples(config, images, seeds)
        self.images = len(self.samples)
        self.background_weight = 1.0
        self.model = IRNet(backbone, self.knobs.contrast)
        # Features that separate the tags also separate objects from background. On photos, the displacement field
        # leaves zero sooner with them than with ImageNet's features.
        load_part(self.model.backbone, "backbone.", classifier.read(WEIGHTS), classifier.location)
        fold_batch_norm(self.model.backbone.eval())

    def groups(self) -> list[dict[str, Any]]:
        """The boundary branch, and the displacement branch at a higher rate (paper 6.1)."""
        return [
            {"params": list(self.model.boundary.parameters()), "lr": self.knobs.rate},
            {
                "params": list(self.model.displacement.parameters()),
                "lr": self.knobs.rate * self.knobs.displacement_factor,
            },
        ]

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        """An augmented crop of an image with its class map at stride 4."""
        return self.samples.sample(index, rng, self.knobs.crop, STRIDES[0])

    def advance(self, done: float) -> None:
        """Raise the weight of background pairs (Eq. 6) up to 1.

        With full weight from the start, they keep the field at zero for hundreds of iterations: the gradient of their
        L1 loss is the same for a small field as for a large one, and at first the field can only be small and noisy.
        """
        rise = self.knobs.background_rise
        self.background_weight = min(1.0, done / rise) if rise else 1.0

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Eq. 9 over every pair within the radius, in float32."""
        image = batch["image"].float().contiguous(memory_format=torch.channels_last)
        logits, field = model(image)
        with torch.autocast(logits.device.type, enabled=False):
            loss = relation_loss(
                logits.float(), field.float(), batch["class_map"], self.knobs.radius, self.background_weight
            )
        return {
            "total": loss.total,
            "displacement_foreground": loss.displacement_foreground,
            "displacement_background": loss.displacement_background,
            "boundary_negative": loss.boundary_negative,
        }

    @torch.no_grad()
    def finish(self, device: torch.device, rank: int, world: int) -> dict[str, Any]:
        """Measure the mean displacement over the training images. From now on the branch subtracts it (4.3)."""
        count = min(self.images, self.knobs.mean_images)
        chosen = np.linspace(0, self.images - 1, count).astype(int)[rank::world]
        sums = torch.zeros(3, dtype=torch.float64, device=device)  # dy, dx, pixels
        model = self.model.eval()
        model.displacement.mean.zero_()
        for index in chosen:
            image, _ = self.samples.pair(int(index))
            with precision(device):
                field = model(rescale(to_network(image, device), self.knobs.middle_scale))[1].double()
            sums[:2] += field.sum(dim=(0, 2, 3))
            sums[2] += field[0, 0].numel()
        if world > 1:
            torch.distributed.all_reduce(sums)
        model.displacement.mean.copy_((sums[:2] / sums[2]).float())
        model.train()
        return {"mean_displacement": model.displacement.mean.tolist()}
