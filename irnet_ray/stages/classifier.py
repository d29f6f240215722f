"""Stage 1: train the classification network on the tags (paper 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from irnet_ray import tables
from irnet_ray.config.load import Config
from irnet_ray.engine.schedule import Schedule
from irnet_ray.engine.task import Batch, TrainStage
from irnet_ray.errors import UserError
from irnet_ray.evaluation.average_precision import area_under_curve
from irnet_ray.inputs.decode import ImageError
from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.imagenet import class_indices
from irnet_ray.networks.inference import precision, rescale, to_network
from irnet_ray.networks.weights import imagenet_head, imagenet_state, load_backbone
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.graph import FEW_CLASSES
from irnet_ray.stages.images import GREY, crop, load_image, random_corner, resize

ENOUGH = 20  # a tag with fewer images has none held out
MEASURED = 4096  # held-out images to measure at most: enough for an average precision, and quick


def stage(config: Config, images: Shards, vocabulary: list[str], usable: int) -> TrainStage:
    """The classifier's training on `usable` images with readable headers."""
    knobs = config.classifier
    return TrainStage(
        name="classifier",
        build=partial(ClassifierTask, config, find_backbone(config.backbone), images, vocabulary),
        schedule=Schedule.plan(usable, knobs.epochs, knobs.min_iterations, knobs.batch_size, knobs.power, config.seed),
        weight_decay=knobs.weight_decay,
    )


def pretrained(config: Config, vocabulary: list[str]) -> Classifier:
    """The backbone with its own ImageNet classifier, reduced to the classes of the vocabulary.

    Raises:
        UserError: a tag is not an ImageNet class, or the weights are missing or of another network.
    """
    try:
        indices = class_indices(vocabulary)
        unknown = [tag for tag, index in indices.items() if index is None]
        if unknown:
            shown = ", ".join(unknown[:5]) + (", ..." if unknown[5:] else "")
            raise UserError(
                f"{len(unknown):,} of the {len(vocabulary):,} tags match no ImageNet class, or several ({shown}): "
                "rename them, or set classifier.pretrained to false so that the classifier is trained."
            )
        backbone = find_backbone(config.backbone)
        model = Classifier(backbone, len(vocabulary))
        state, source = imagenet_state(backbone, config.weights), config.weights or backbone.name
        load_backbone(model.backbone, state, source)
        head = imagenet_head(backbone, model.backbone.channels[-1], state, source)
        rows = torch.tensor([indices[tag] for tag in vocabulary])
        with torch.no_grad():
            model.classifier.weight.copy_(head[rows][:, :, None, None])
    except (OSError, ValueError, ModuleNotFoundError) as error:
        raise UserError(str(error)) from error
    return model


def take_pretrained(config: Config, vocabulary: list[str]) -> Callable[[Folder], str]:
    """A function that writes the weights of `pretrained` to a folder and returns what they are in a few words."""

    def write(folder: Folder) -> str:
        state = pretrained(config, vocabulary).state_dict()
        folder.write(WEIGHTS, save({name: tensor.contiguous() for name, tensor in state.items()}))
        return f"{len(vocabulary)} classes of ImageNet's own classifier, nothing trained"

    return write


class ClassifierTask:
    """Multi-label classification with the soft margin loss."""

    def __init__(self, config: Config, backbone: Backbone, images: Shards, vocabulary: list[str]) -> None:
        self.config, self.knobs = config, config.classifier
        table = _read(images)
        table = table.filter(pc.is_valid(table["width"])).combine_chunks()
        apart = held_out(table, self.knobs.held_out)
        self.table, self.held_out = table.filter(pa.array(~apart)), table.filter(pa.array(apart))
        self.images = len(self.table)
        self.vocabulary = vocabulary
        # Where every tag is known, batches and losses are what they were before tags could be unknown.
        self.is_partly_known = self.table["tags_unknown"].null_count < len(self.table)
        self.class_of = {name: number for number, name in enumerate(vocabulary)}
        self.model = Classifier(backbone, len(vocabulary))
        state = imagenet_state(backbone, config.weights)
        load_backbone(self.model.backbone, state, config.weights or backbone.name)

    def groups(self) -> list[dict[str, Any]]:
        """The backbone's upper levels, and the classifier layer at a higher rate."""
        backbone = [p for p in self.model.backbone.parameters() if p.requires_grad]
        head = list(self.model.classifier.parameters())
        return [
            {"params": backbone, "lr": self.knobs.rate},
            {"params": head, "lr": self.knobs.rate * self.knobs.head_factor},
        ]

    def sample(self, index: int, rng: np.random.Generator) -> Batch:
        """A resized, mirrored and cropped image with its tags as a 0/1 vector; `known` is 0 at tags that are unknown.

        The next image replaces one that cannot be decoded. The seeds stage records the error.
        """
        for offset in range(self.images):
            row = (index + offset) % self.images
            try:
                image = load_image(self.table["uri"][row].as_py(), self.config.max_side, self.config.window)
                break
            except ImageError:
                continue
        else:
            raise RuntimeError("classifier: none of the images can be decoded.")
        height, width = image.shape[:2]
        scale = rng.integers(self.knobs.resize[0], self.knobs.resize[1] + 1) / max(height, width)
        image = resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))
        if rng.random() < 0.5:
            image = image[:, ::-1]
        top, left = random_corner(image.shape, self.knobs.crop, rng)
        image = crop(image, top, left, self.knobs.crop, GREY)
        target = torch.zeros(len(self.class_of))
        target[[self.class_of[tag] for tag in self.table["tags"][row].as_py()]] = 1
        sample = {"image": torch.from_numpy(image.transpose(2, 0, 1).copy()), "target": target}
        if self.is_partly_known:
            known = torch.ones(len(self.class_of))
            unknown = self.table["tags_unknown"][row].as_py() or []
            known[[self.class_of[tag] for tag in unknown if tag in self.class_of]] = 0
            sample["known"] = known
        return sample

    def losses(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The multi-label soft margin loss, its mean over at least `FEW_CLASSES`; a tag that is unknown has none."""
        image = batch["image"].float().contiguous(memory_format=torch.channels_last)
        logits = model(image).float()
        total = F.multilabel_soft_margin_loss(logits, batch["target"], weight=batch.get("known"))
        if len(self.vocabulary) < FEW_CLASSES:
            total = total * len(self.vocabulary) / FEW_CLASSES
        return {"total": total}

    @torch.no_grad()
    def finish(self, device: torch.device, rank: int, world: int) -> dict[str, Any]:
        """Average precision of each tag on whole held-out images, resized to the middle of the training sizes.

        Returns:
            `held_out`: the number of images measured.
            `tags`: for each tag of these images, its `ap` in [0, 1] and its number of `images`.
        """
        rows = np.linspace(0, len(self.held_out) - 1, min(len(self.held_out), MEASURED)).astype(int)
        model = self.model.eval()
        answers = [(int(row), logits) for row in rows[rank::world] if (logits := self._logits(int(row), device))]
        model.train()
        if world > 1:
            gathered: list[Any] = [None] * world
            torch.distributed.all_gather_object(gathered, answers)
            answers = [answer for share in gathered for answer in share]
        answers.sort()
        scores = np.array([logits for _, logits in answers]).reshape(-1, len(self.vocabulary))
        tags_of = [set(self.held_out["tags"][row].as_py()) for row, _ in answers]
        unknown_of = [set(self.held_out["tags_unknown"][row].as_py() or ()) for row, _ in answers]
        measured = {}
        for number, name in enumerate(self.vocabulary):
            known = np.array([name not in unknown for unknown in unknown_of], bool)
            true = np.array([name in tags for tags in tags_of], bool)[known]
            if true.any():
                ranked = true[np.argsort(-scores[known, number], kind="stable")]
                measured[name] = {"ap": area_under_curve(ranked.tolist(), int(true.sum())), "images": int(true.sum())}
        return {"held_out": len(answers), "tags": measured}

    def _logits(self, row: int, device: torch.device) -> list[float] | None:
        """Class logits of a held-out image, or None if it cannot be decoded. The seeds stage records the error."""
        try:
            uri = self.held_out["uri"][row].as_py()
            image = to_network(load_image(uri, self.config.max_side, self.config.window), device)
        except ImageError:
            return None
        side = sum(self.knobs.resize) / 2
        with precision(device):
            logits: list[float] = self.model(rescale(image, side / max(image.shape[-2:])))[0].float().tolist()
        return logits


def _read(images: Shards) -> pa.Table:
    """The columns of the images table that training needs; one of 0.5.4 knows no `tags_unknown`."""
    table = images.table()
    if "tags_unknown" not in table.column_names:
        table = table.append_column("tags_unknown", pa.nulls(len(table), pa.list_(pa.string())))
    return table.select(["image_id", "uri", "tags", "width", "tags_unknown"])


def held_out(images: pa.Table, share: float) -> np.ndarray:
    """Which images stay out of training, bool (N,). It depends on the id alone, so new images do not move others.

    An image of a rare tag is never held out: training needs it more.
    """
    tags = images["tags"].to_pylist()
    counts = Counter(tag for row in tags for tag in row)
    return np.array(
        [
            tables.fraction(image_id, "held-out") < share and all(counts[tag] >= ENOUGH for tag in row)
            for image_id, row in zip(images["image_id"].to_pylist(), tags, strict=True)
        ],
        dtype=bool,
    )
