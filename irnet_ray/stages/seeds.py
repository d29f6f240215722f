"""Stage 3: class attention maps, a stronger attention made from them, and the confident map (paper 3 and 4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from irnet_ray import tables
from irnet_ray.algorithms.attention import merge_scales, upsample
from irnet_ray.algorithms.maps import STRIDE
from irnet_ray.algorithms.prototypes import Prototypes
from irnet_ray.algorithms.seed_methods import METHODS, SeedMethod
from irnet_ray.config.load import Config
from irnet_ray.engine.mapping import MapStage
from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.inference import for_inference, precision, rescale, to_network
from irnet_ray.networks.weights import load_weights
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.images import load
from irnet_ray.stages.prototypes import prototypes_of
from irnet_ray.stages.rows import Attention, seeds_row
from irnet_ray.tables import Row

LEVELS = 3  # the last levels, which a seed method sees; the first two hold edges and colours


def stage(
    config: Config, images: Shards, vocabulary: list[str], classifier: Folder, prototypes: Shards | None
) -> MapStage:
    """Make the seeds of every image with the trained classifier and, if the method uses them, prototypes."""
    class_of = {name: number for number, name in enumerate(vocabulary)}
    return MapStage(
        name="seeds",
        schema=tables.SEEDS,
        sources=(images,),
        load=partial(load, max_side=config.max_side, window=config.window),
        network=partial(
            SeedsNetwork,
            config,
            find_backbone(config.backbone),
            METHODS[config.seeds.method],
            class_of,
            classifier,
            prototypes,
        ),
        finish=partial(seeds_row, config, class_of),
    )


class SeedsNetwork:
    """The trained classifier on one device. It turns an image into the attention maps of its own tags."""

    def __init__(
        self,
        config: Config,
        backbone: Backbone,
        method: SeedMethod,
        class_of: dict[str, int],
        weights: Folder,
        prototypes: Shards | None,
        gpu: bool,
    ) -> None:
        self.method, self.class_of = method, class_of
        self.scales = (1.0,) if method.one_scale else config.seeds.scales
        self.prototypes = prototypes
        self.device = torch.device("cuda" if gpu else "cpu")
        network = Classifier(backbone, len(class_of))
        load_weights(network, weights.read(WEIGHTS), weights.location)
        self.network = for_inference(network, self.device)
        self.known: dict[str, Prototypes | None] = {}

    @torch.inference_mode()
    def __call__(self, row: Row, image_HW3: np.ndarray) -> Attention:
        """The CAM over the seed method's scales, and the method's own attention from the features at scale 1."""
        size = image_HW3.shape[:2]
        if not row["tags"]:  # nothing to attend to
            none = np.zeros((0, *(-(-side // STRIDE) for side in size)), np.float32)
            return Attention(image_HW3, none, none if self.method.attention else None, np.zeros((0, *size), np.float32))
        image = to_network(image_HW3, self.device)
        levels_at = {scale: self._levels(image, scale) for scale in self.scales}
        cam, full = self._cam(row["tags"], levels_at.values(), size)
        if self.method.attention is None:
            return Attention(image_HW3, cam.cpu().numpy(), None, full.cpu().numpy())
        own = levels_at[1.0] if 1.0 in levels_at else self._levels(image, 1.0)
        chosen = self._attention(row["tags"], own, cam)
        full = upsample(chosen, size)
        return Attention(image_HW3, cam.cpu().numpy(), chosen.cpu().numpy(), full.cpu().numpy())

    @torch.inference_mode()
    def cam(self, tags: list[str], image_HW3: np.ndarray, scales: Sequence[float]) -> np.ndarray:
        """The class attention maps of an image over these scales (Eq. 1): float32 (K, ceil(H/4), ceil(W/4))."""
        image = to_network(image_HW3, self.device)
        pairs = (self._levels(image, scale) for scale in scales)
        return self._cam(tags, pairs, image_HW3.shape[:2])[0].cpu().numpy()

    def _cam(self, tags: list[str], pairs: Iterable[list[Tensor]], size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Eq. 1 over the levels of an image and its mirror image: (K, h, w) and (K, H, W), each map at most 1."""
        class_ids = torch.tensor([self.class_of[tag] for tag in tags], device=self.device)
        maps = []
        for levels in pairs:
            attention, mirrored = self.network.attention(levels[-1], class_ids)
            maps.append(attention + mirrored.flip(-1))
        if not all(bool(torch.isfinite(each).all()) for each in maps):
            raise FloatingPointError("The class attention map is not finite: the classifier's weights are broken.")
        return merge_scales(maps, (size[0], size[1]), range(len(class_ids)))

    def _levels(self, image_13HW: Tensor, scale: float) -> list[Tensor]:
        """Features of an image and of its mirror image at a scale."""
        scaled = rescale(image_13HW, scale)
        pair = torch.cat([scaled, scaled.flip(-1)]).contiguous(memory_format=torch.channels_last)
        with precision(self.device):
            return self.network.backbone(pair)

    def _attention(self, tags: list[str], pair: list[Tensor], cam_Khw: Tensor) -> Tensor:
        """The method's own attention, (K, h, w). `pair` holds the levels of the image and of its mirror image."""
        if self.method.attention is None:
            return cam_Khw
        levels = [((x[0] + x[1].flip(-1)) / 2).float() for x in pair[-LEVELS:]]
        maps = interpolate(cam_Khw[None], levels[-1].shape[1:], mode="bilinear", antialias=True)[0]
        maps = self.method.attention(maps, levels, [self._prototypes(tag) for tag in tags])
        # Means over near and similar features are smooth. So interpolation is enough for the finer grid.
        return interpolate(maps[None], cam_Khw.shape[1:], mode="bilinear", align_corners=False)[0]

    def _prototypes(self, tag: str) -> Prototypes | None:
        """A tag's prototypes, read once. None for other methods, and for a tag whose prototypes failed."""
        if self.prototypes is None:
            return None
        if tag not in self.known:
            part = self.prototypes.part(tables.shard_of(tag, self.prototypes.count))
            rows = self.prototypes.rows.read_table(part, ids=[tag]).to_pylist()
            found = [Prototypes(*(tensor.to(self.device) for tensor in prototypes_of(row))) for row in rows]
            self.known[tag] = found[0] if found else None
        return self.known[tag]
