"""Train DeepLab on semantic labels, and segment with it (paper 6.3)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from irnet_ray.algorithms.crf import refine
from irnet_ray.engine.task import TrainStage
from irnet_ray.inputs.decode import ImageError
from irnet_ray.networks.bodies import load_body
from irnet_ray.networks.deeplab import Segmenter, backbone_of, build_deeplab, loss, probabilities
from irnet_ray.networks.inference import precision, to_network
from irnet_ray.networks.weights import imagenet_state, load_weights
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.stages.images import GREY, crop, load_image, random_corner, resize, resize_map
from irnet_ray.stages.label_rows import IGNORED, LabelRows, semantic_target
from irnet_ray.stages.students import Student
from irnet_ray.tables import Row

COLUMNS = ["uri", "tags", "width", "height", "instances", "semantic"]


def stage(student: Student, rows: LabelRows, images: int) -> TrainStage:
    """The training of a DeepLab on `images` labels."""
    return TrainStage(
        name=student.kind.name,
        build=partial(DeepLabTask, student, rows),
        schedule=student.schedule(images),
        weight_decay=student.knobs.weight_decay,
        rows=partial(rows.dataset, COLUMNS),
        optimizer="momentum",
        clip=10.0,  # far above the usual norm: it only prevents the rare step that ends in NaN
    )


def build(student: Student) -> Segmenter:
    """The untrained network of a student."""
    return build_deeplab(student.config.deeplab.network, student.backbone, len(student.vocabulary))


class DeepLabTask:
    """Learn semantic maps from crops of the labels, by cross-entropy."""

    def __init__(self, student: Student, rows: LabelRows) -> None:
        self.student, self.rows, self.knobs = student, rows, student.config.deeplab
        self.class_of = {name: number for number, name in enumerate(student.vocabulary)}
        self.model = build(student)
        backbone = backbone_of(self.knobs.network, student.backbone)
        state = imagenet_state(backbone, student.weights)
        load_body(self.model.backbone, state, student.weights or backbone.name)

    def groups(self) -> list[dict[str, Any]]:
        """The backbone, and the head at a higher rate."""
        body = [p for p in self.model.body_parameters() if p.requires_grad]
        return [
            {"params": body, "lr": self.knobs.rate},
            {"params": list(self.model.head_parameters()), "lr": self.knobs.rate * self.knobs.head_factor},
        ]

    def sample(self, row: Row, rng: np.random.Generator) -> dict[str, Tensor] | None:
        """A rescaled, mirrored and cropped image with its target; None if it cannot be decoded."""
        try:
            image = load_image(row["uri"], self.student.config.max_side, self.student.config.window)
        except ImageError:
            return None
        target = semantic_target(row, self.class_of, self.rows)
        scale = rng.uniform(*self.knobs.rescale)  # the target has the size of the image file, which may be larger
        size = tuple(max(1, round(n * scale)) for n in image.shape[:2])
        image, target = resize(image, size), resize_map(target, size)
        if rng.random() < 0.5:
            image, target = image[:, ::-1], target[:, ::-1]
        side = self.knobs.crop
        top, left = random_corner(size, side, rng)
        image = crop(image, top, left, side, GREY)
        target = crop(target, top, left, side, IGNORED)
        return {"image": torch.from_numpy(image.transpose(2, 0, 1).copy()), "target": torch.from_numpy(target.copy())}

    def losses(self, model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cross-entropy over pixels whose class is known."""
        image = batch["image"].float().contiguous(memory_format=torch.channels_last)
        return {"total": loss(model(image), batch["target"])}

    def finish(self, device: torch.device, rank: int, world: int) -> dict[str, Any]:
        """Measure nothing."""
        return {}


class DeepLabPredictor:
    """A trained DeepLab on one device."""

    def __init__(self, student: Student, folder: Folder, gpu: bool) -> None:
        self.device = torch.device("cuda" if gpu else "cpu")
        self.knobs = student.config.deeplab
        self.network = build(student)
        load_weights(self.network, folder.read(WEIGHTS), folder.location)
        self.network.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, image_HW3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """As `MaskRCNNPredictor`, without instances: DeepLab predicts classes only."""
        with precision(self.device):
            found = probabilities(self.network, to_network(image_HW3, self.device), self.knobs.scales)
        if not bool(torch.isfinite(found).all()):
            raise FloatingPointError("DeepLab's output is not finite: its weights are broken.")
        if self.knobs.crf:
            semantic = refine(image_HW3, found.cpu().numpy()).astype(np.int32)
        else:
            semantic = found.argmax(dim=0).cpu().numpy().astype(np.int32)
        size = image_HW3.shape[:2]
        return np.zeros((0, *size), bool), np.zeros(0, np.int64), np.zeros(0, np.float32), semantic
