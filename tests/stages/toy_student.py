"""A student of one convolution, as somebody outside the package would add it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from irnet_ray.engine.task import TrainStage
from irnet_ray.inputs.decode import ImageError
from irnet_ray.networks.weights import load_weights
from irnet_ray.runs.folder import Folder
from irnet_ray.stages.images import load_image, resize, resize_map
from irnet_ray.stages.label_rows import LabelRows, semantic_target
from irnet_ray.stages.student_kind import Kind
from irnet_ray.stages.students import Student
from irnet_ray.tables import Row

SIDE = 32
COLUMNS = ["uri", "tags", "width", "height", "instances", "semantic"]


class ToyTask:
    """The class of each pixel from its colour."""

    def __init__(self, student: Student, rows: LabelRows) -> None:
        self.student, self.rows = student, rows
        self.class_of = {name: number for number, name in enumerate(student.vocabulary)}
        self.model = network(student)

    def groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.model.parameters()), "lr": self.student.knobs.rate}]

    def sample(self, row: Row, rng: np.random.Generator) -> dict[str, Tensor] | None:
        try:
            image = load_image(row["uri"], self.student.config.max_side)
        except ImageError:
            return None
        target = resize_map(semantic_target(row, self.class_of, self.rows), (SIDE, SIDE))
        image = resize(image, (SIDE, SIDE)).transpose(2, 0, 1)
        return {"image": torch.from_numpy(image.copy()), "target": torch.from_numpy(target.copy())}

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = model(batch["image"].float() / 255)
        return {"total": nn.functional.cross_entropy(logits, batch["target"].long(), ignore_index=255)}

    def finish(self, device: torch.device, rank: int, world: int) -> dict[str, Any]:
        return {}


class ToyPredictor:
    """The trained student."""

    def __init__(self, student: Student, folder: Folder, gpu: bool) -> None:
        self.network = network(student)
        load_weights(self.network, folder.read("weights.safetensors"), folder.location)

    @torch.inference_mode()
    def __call__(self, image_HW3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        pixels = torch.from_numpy(image_HW3.transpose(2, 0, 1).copy()).float()[None] / 255
        semantic = self.network(pixels)[0].argmax(dim=0).numpy().astype(np.int32)
        none = np.zeros((0, *semantic.shape), bool), np.zeros(0, np.int64), np.zeros(0, np.float32)
        return *none, semantic


def network(student: Student) -> nn.Module:
    return nn.Conv2d(3, len(student.vocabulary) + 1, 1)


def stage(student: Student, rows: LabelRows, images: int) -> TrainStage:
    return TrainStage(
        name=student.kind.name,
        build=partial(ToyTask, student, rows),
        schedule=student.schedule(images),
        weight_decay=student.knobs.weight_decay,
        rows=partial(rows.dataset, COLUMNS),
    )


def predictor(student: Student, folder: Folder, gpu: bool) -> ToyPredictor:
    return ToyPredictor(student, folder, gpu)


TOY = Kind("colours", "deeplab", "the class of a colour", stage, predictor, instances=False)
