"""What the comparisons of the paper make of an image (6.1, 6.2; Tables 1 and 2); no stage of labeling."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from irnet_ray import tables
from irnet_ray.algorithms.affinity import embedding_affinities
from irnet_ray.algorithms.seed_methods import METHODS, SeedMethod
from irnet_ray.algorithms.synthesis import walked_semantic
from irnet_ray.algorithms.walk import affinity_walk
from irnet_ray.config.load import Config
from irnet_ray.engine.mapping import MapStage
from irnet_ray.masks import decode_attention, decode_cam
from irnet_ray.networks.affinitynet import AffinityNet
from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.batch_norm import fold_batch_norm
from irnet_ray.networks.inference import for_inference, precision, to_network
from irnet_ray.networks.weights import load_weights
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import WEIGHTS
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.images import load
from irnet_ray.stages.labels import LabelsNetwork
from irnet_ray.stages.rows import Ablated, Masks, ablation_row
from irnet_ray.stages.seeds import SeedsNetwork
from irnet_ray.tables import Row


def stage(
    config: Config,
    images: Shards,
    seeds: Shards,
    vocabulary: list[str],
    classifier: Folder,
    irnet: Folder,
    affinitynet: Folder,
) -> MapStage:
    """The comparisons for every image that has seeds."""
    return MapStage(
        name="ablation",
        schema=tables.ABLATION,
        sources=(images, seeds),
        load=partial(load, max_side=config.max_side),
        network=partial(
            AblationNetwork,
            config,
            find_backbone(config.backbone),
            METHODS[config.seeds.method],
            vocabulary,
            classifier,
            irnet,
            affinitynet,
        ),
        finish=ablation_row,
    )


class AblationNetwork:
    """The CAM of all scales, IRNet without its displacement field, and AffinityNet, all trained, on one device."""

    def __init__(
        self,
        config: Config,
        backbone: Backbone,
        method: SeedMethod,
        vocabulary: list[str],
        classifier: Folder,
        irnet: Folder,
        affinitynet: Folder,
        gpu: bool,
    ) -> None:
        self.scales = config.seeds.scales
        class_of = {tag: k for k, tag in enumerate(vocabulary)}
        self.seeds = SeedsNetwork(config, backbone, method, class_of, classifier, None, gpu)
        self.labels = LabelsNetwork(config, backbone, irnet, gpu)
        network = AffinityNet(backbone)
        fold_batch_norm(network.backbone.eval())  # as it was trained and saved
        load_weights(network, affinitynet.read(WEIGHTS), affinitynet.location)
        self.network = for_inference(network, self.labels.device)

    def __call__(self, row: Row, image_HW3: np.ndarray) -> Ablated:
        """The comparisons for one image, from the attention maps of its row."""
        attention_Khw = decode_attention(row)
        return Ablated(
            self.boundary(attention_Khw, image_HW3),
            self.affinitynet(attention_Khw, image_HW3),
            self.cam(row, image_HW3),
        )

    def cam(self, row: Row, image_HW3: np.ndarray) -> np.ndarray:
        """The first line of both tables: the row's own CAM, unless the seed method took it at scale 1 alone."""
        if not self.seeds.method.one_scale:
            return decode_cam(row)
        return self.seeds.cam(row["tags"], image_HW3, self.scales)

    def boundary(self, attention_Khw: np.ndarray, image_HW3: np.ndarray) -> Masks:
        """ "CAM + class boundary" of Table 1: labels that no displacement field splits into instances.

        Where nothing moves all cells are one group, so instances are the connected parts of a class.
        """
        (relations,) = self.labels.relations([image_HW3])
        still = relations._replace(field=torch.zeros_like(relations.field))
        return self.labels.synthesize(attention_Khw, still, image_HW3.shape[:2])

    @torch.inference_mode()
    def affinitynet(self, attention_Khw: np.ndarray, image_HW3: np.ndarray) -> np.ndarray:
        """AffinityNet of Table 2: semantic labels from the same walk, with the run's knobs, on its affinities.

        Raises:
            FloatingPointError: the network's answer is not finite.
        """
        knobs, device = self.labels.knobs, self.labels.device
        with precision(device):
            embedding = self.network.predict(to_network(image_HW3, device), self.labels.scales[0])
        if not bool(torch.isfinite(embedding).all()):
            raise FloatingPointError("AffinityNet's answer is not finite: its weights are broken.")
        walked = affinity_walk(
            torch.from_numpy(attention_Khw).to(device),
            embedding_affinities(embedding, knobs.radius),
            knobs.radius,
            knobs.beta,
            knobs.steps,
        )
        return walked_semantic(walked, image_HW3.shape[:2], background=knobs.background).cpu().numpy()
