"""Stage 1: train the classification network on the tags (paper 3)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from irnet_ray.config import Config
from irnet_ray.engine.training import Batch, Schedule, TrainStage
from irnet_ray.inputs.decode import ImageError
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.weights import imagenet_weights_path, load_backbone, read_state
from irnet_ray.run import Shards
from irnet_ray.stages.images import GREY, crop, load_image, random_corner, resize


def stage(config: Config, images: Shards, vocabulary: list[str], usable: int) -> TrainStage:
    """The classifier's training on `usable` images with readable headers."""
    knobs = config.classifier
    return TrainStage(
        name="classifier",
        build=partial(ClassifierTask, config, images, vocabulary),
        schedule=Schedule.plan(usable, knobs.epochs, knobs.min_iterations, knobs.batch_size, knobs.power, config.seed),
        weight_decay=knobs.weight_decay,
    )


class ClassifierTask:
    """Multi-label classification with the soft margin loss."""

    def __init__(self, config: Config, images: Shards, vocabulary: list[str]) -> None:
        self.config, self.knobs = config, config.classifier
        parts = [images.rows.read_table(name, columns=["uri", "tags", "width"]) for name in images.rows.files()]
        table = pa.concat_tables(parts)
        self.table = table.filter(pc.is_valid(table["width"])).combine_chunks()
        self.images = len(self.table)
        self.class_of = {name: number for number, name in enumerate(vocabulary)}
        self.model = Classifier(config.backbone, len(vocabulary))
        path = config.weights or str(imagenet_weights_path(config.backbone))
        load_backbone(self.model.backbone, read_state(path), path)

    def groups(self) -> list[dict[str, Any]]:
        """The backbone's upper levels, and the classifier layer at a higher rate."""
        backbone = [p for p in self.model.backbone.parameters() if p.requires_grad]
        head = list(self.model.classifier.parameters())
        return [
            {"params": backbone, "lr": self.knobs.rate},
            {"params": head, "lr": self.knobs.rate * self.knobs.head_factor},
        ]

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        """A resized, mirrored and cropped image with its tags as a 0/1 vector.

        An image that cannot be decoded is replaced by the next one: the seeds stage records its error.
        """
        for offset in range(self.images):
            row = (index + offset) % self.images
            try:
                image = load_image(self.table["uri"][row].as_py(), self.config.max_side)
                break
            except ImageError:
                continue
        else:
            raise RuntimeError("classifier: not one image can be decoded.")
        height, width = image.shape[:2]
        scale = rng.integers(self.knobs.resize[0], self.knobs.resize[1] + 1) / max(height, width)
        image = resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))
        if rng.random() < 0.5:
            image = image[:, ::-1]
        top, left = random_corner(image.shape, self.knobs.crop, rng)
        image = crop(image, top, left, self.knobs.crop, GREY)
        target = torch.zeros(len(self.class_of))
        target[[self.class_of[tag] for tag in self.table["tags"][row].as_py()]] = 1
        return {"image": torch.from_numpy(image.transpose(2, 0, 1).copy()), "target": target}

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The multi-label soft margin loss."""
        image = batch["image"].float().contiguous(memory_format=torch.channels_last)
        return {"total": F.multilabel_soft_margin_loss(model(image).float(), batch["target"])}

    def finish(self, device: torch.device, rank: int, world: int) -> None:
        """Nothing is left to measure."""
