"""The simpler methods that the paper compares labels with (6.1, 6.2; Tables 1 and 2). Labeling does not run them."""

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
    """Run the simpler methods on every image that has seeds."""
    return MapStage(
        name="ablation",
        schema=tables.ABLATION,
        sources=(images, seeds),
        load=partial(load, max_side=config.max_side, window=config.window),
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
    """The trained classifier, IRNet and AffinityNet on one device, for the simpler methods."""

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
        fold_batch_norm(network.backbone.eval())  # it was trained and saved so
        load_weights(network, affinitynet.read(WEIGHTS), affinitynet.location)
        self.network = for_inference(network, self.labels.device)

    def __call__(self, row: Row, image_HW3: np.ndarray) -> Ablated:
        """The results of the simpler methods for one image, from the attention maps of its row."""
        attention_Khw = decode_attention(row)
        return Ablated(
            self.boundary(attention_Khw, image_HW3),
            self.affinitynet(attention_Khw, image_HW3),
            self.cam(row, image_HW3),
        )

    def cam(self, row: Row, image_HW3: np.ndarray) -> np.ndarray:
        """The CAM over all scales, the first line of both tables, float32 (K, h, w).

        It is in the row, unless the seed method computed the CAM at scale 1 only.
        """
        if not self.seeds.method.one_scale:
            return decode_cam(row)
        return self.seeds.cam(row["tags"], image_HW3, self.scales)

    def boundary(self, attention_Khw: np.ndarray, image_HW3: np.ndarray) -> Masks:
        """ "CAM + class boundary" of Table 1: labels made without the displacement field.

        With a field of zeros, all cells are one group. So instances are the connected parts of a class.
        """
        (relations,) = self.labels.relations([image_HW3])
        still = relations._replace(field=torch.zeros_like(relations.field))
        return self.labels.synthesize(attention_Khw, still, image_HW3.shape[:2])

    @torch.inference_mode()
    def affinitynet(self, attention_Khw: np.ndarray, image_HW3: np.ndarray) -> np.ndarray:
        """AffinityNet of Table 2: semantic labels, uint8 (H, W). The walk and its knobs are those of the labels.

        Raises:
            FloatingPointError: the network's output is not finite.
        """
        knobs, device = self.labels.knobs, self.labels.device
        with precision(device):
            embedding = self.network.predict(to_network(image_HW3, device), self.labels.scales[0])
        if not bool(torch.isfinite(embedding).all()):
            raise FloatingPointError("AffinityNet's output is not finite: its weights are broken.")
        walked = affinity_walk(
            torch.from_numpy(attention_Khw).to(device),
            embedding_affinities(embedding, knobs.radius),
            radius=knobs.radius,
            beta=knobs.beta,
            steps=knobs.steps,
        )
        size = image_HW3.shape[:2]
        return walked_semantic(walked, size, background=knobs.background, per_class=False).cpu().numpy()
