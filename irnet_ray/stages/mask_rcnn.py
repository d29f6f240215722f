"""Train Mask R-CNN on instance labels, and predict with it (paper 6.3)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import MaskRCNN

from irnet_ray.engine.task import TrainStage
from irnet_ray.inputs.decode import ImageError
from irnet_ray.masks import decode_masks
from irnet_ray.networks.bodies import load_body
from irnet_ray.networks.inference import precision
from irnet_ray.networks.mask_rcnn import SMALL, Budget, build_mask_rcnn, losses, predict
from irnet_ray.networks.weights import imagenet_state, load_weights
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.stages.images import load_image, resize_map
from irnet_ray.stages.label_rows import LabelRows
from irnet_ray.stages.students import Student
from irnet_ray.tables import Row

COLUMNS = ["uri", "width", "height", "instances"]


def stage(student: Student, rows: LabelRows, images: int) -> TrainStage:
    """The training of a Mask R-CNN on `images` labels."""
    return TrainStage(
        name=student.kind.name,
        build=partial(MaskRCNNTask, student, rows),
        schedule=student.schedule(images),
        weight_decay=student.knobs.weight_decay,
        rows=partial(rows.dataset, COLUMNS),
        optimizer="momentum",
        clip=10.0,  # far above the usual norm: it only prevents the rare step that ends in NaN
    )


def build(student: Student) -> MaskRCNN:
    """The untrained network of a student."""
    knobs = student.config.mask_rcnn
    return build_mask_rcnn(
        student.backbone,
        len(student.vocabulary),
        min_sizes=knobs.sides,
        max_size=knobs.max_side,
        budget=SMALL if knobs.proposals == "small" else Budget(),
    )


class MaskRCNNTask:
    """Learn boxes and masks from labels. Masks are decoded image by image."""

    def __init__(self, student: Student, rows: LabelRows) -> None:
        self.student, self.rows = student, rows
        self.class_of = {name: number for number, name in enumerate(student.vocabulary)}
        self.model = build(student)
        state = imagenet_state(student.backbone, student.weights)
        load_body(self.model.backbone.body, state, student.weights or student.backbone.name)

    def groups(self) -> list[dict[str, Any]]:
        """All trainable layers, at one rate."""
        learning = [p for p in self.model.parameters() if p.requires_grad]
        return [{"params": learning, "lr": self.student.knobs.rate}]

    def sample(self, row: Row, rng: np.random.Generator) -> dict[str, Any] | None:
        """An image, mirrored half of the time, with its boxes, classes and masks. None if it cannot be decoded.

        The network resizes image and masks itself. Instances of classes outside the vocabulary are left out.
        """
        try:
            image = load_image(row["uri"], self.student.config.max_side, self.student.config.window)
        except ImageError:
            return None
        known = [i for i in row["instances"] if self.rows.keeps(i) and i["class_name"] in self.class_of]
        masks, size = decode_masks(known, (row["height"], row["width"])), image.shape[:2]
        if masks.shape[1:] != size:
            masks = np.array([resize_map(mask, size) for mask in masks], bool).reshape(-1, *size)
        if rng.random() < 0.5:
            image, masks = image[:, ::-1], masks[:, :, ::-1]
        boxes = np.array([_box(mask) for mask in masks], np.float32).reshape(-1, 4)
        # A box without extent has no regression target.
        real = ((boxes[:, 2:] - boxes[:, :2]) >= 1).all(axis=1)
        classes = np.array([self.class_of[i["class_name"]] + 1 for i in known], np.int64)
        return {
            "image": torch.from_numpy(image.transpose(2, 0, 1).copy()),
            "boxes": torch.from_numpy(boxes[real]),
            "labels": torch.from_numpy(classes[real]),
            "masks": torch.from_numpy(masks[real].astype(np.uint8)),
        }

    def collate(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Keep the images in a list, because their sizes differ."""
        targets = [{key: sample[key] for key in ("boxes", "labels", "masks")} for sample in samples]
        return {"images": [sample["image"] for sample in samples], "targets": targets}

    def losses(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The losses of Mask R-CNN."""
        images = [image.float() for image in batch["images"]]
        # Also on a CPU with bfloat16: most of the work is plain convolutions, which bfloat16 speeds up.
        with precision(images[0].device):
            return losses(model, images, batch["targets"])

    def finish(self, device: torch.device, rank: int, world: int) -> dict[str, Any]:
        """Measure nothing."""
        return {}


class MaskRCNNPredictor:
    """A trained Mask R-CNN on one device."""

    def __init__(self, student: Student, folder: Folder, gpu: bool) -> None:
        self.device = torch.device("cuda" if gpu else "cpu")
        self.network = build(student)
        load_weights(self.network, folder.read(WEIGHTS), folder.location)
        self.network.eval().requires_grad_(False).to(self.device).to(memory_format=torch.channels_last)
        self.threshold = student.config.mask_rcnn.threshold

    @torch.inference_mode()
    def __call__(self, image_HW3: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Masks bool (N, H, W), class numbers (N,), scores (N,) and the semantic map int32 (H, W) of an image.

        In the semantic map 0 is background and c + 1 is class c. Each pixel has the class of its highest-scoring mask.
        """
        image = torch.from_numpy(image_HW3.transpose(2, 0, 1).copy()).to(self.device).float()
        with precision(self.device):
            found = predict(self.network, image)
        kept = found.score >= self.threshold
        masks, classes, scores = (t[kept].cpu().numpy() for t in (found.masks, found.class_index, found.score))
        semantic = np.zeros(image_HW3.shape[:2], np.int32)
        for number in np.argsort(scores, kind="stable"):
            semantic[masks[number]] = classes[number] + 1
        return masks, classes, scores, semantic


def _box(mask_HW: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a mask, the last two exclusive. All zeros for an empty mask."""
    rows, columns = np.flatnonzero(mask_HW.any(axis=1)), np.flatnonzero(mask_HW.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
