"""Counts of one image at many thresholds of seeds and labels, from a finished run's attention and weights."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from irnet_ray.algorithms.attention import upsample
from irnet_ray.algorithms.relations import agreed, refined_tags
from irnet_ray.config.load import Config
from irnet_ray.evaluation.average_precision import Prediction
from irnet_ray.evaluation.objectives import LabelCounts, count_confident, count_labels
from irnet_ray.evaluation.search import Candidate
from irnet_ray.evaluation.truth import TruthImage, semantic_map
from irnet_ray.masks import decode_attention
from irnet_ray.networks.backbone import Backbone
from irnet_ray.runs.folder import Folder
from irnet_ray.stages.images import load_image, resize_map
from irnet_ray.stages.labels import LabelsNetwork
from irnet_ray.stages.rows import Masks, encode_instances
from irnet_ray.tables import Row


@dataclass(frozen=True)
class Grid:
    """The candidates to measure in every image, and the numbers of the truth's classes, from 1."""

    seeds: Sequence[Candidate]  # foreground, background
    labels: Sequence[Candidate]  # background
    numbers: Mapping[str, int]


@dataclass(frozen=True)
class Counts:
    """Counts of one image for each candidate."""

    seeds: dict[Candidate, np.ndarray]  # of `count_confident`
    labels: dict[Candidate, LabelCounts]


def measure(config: Config, backbone: Backbone, irnet: Folder, grid: Grid, row: Row, truth: TruthImage) -> Counts:
    """Counts of one image for each candidate. `row` joins the images and seeds tables.

    The network of `irnet` is kept for the next image of this process.

    Raises:
        ImageError: the image cannot be decoded.
        FloatingPointError: the network's output is not finite.
    """
    image_HW3 = load_image(row["uri"], config.max_side, config.window)
    size, own_size = image_HW3.shape[:2], (truth.height, truth.width)
    attention_Khw = decode_attention(row)
    truth_HW = semantic_map(truth.instances, dict(grid.numbers), own_size)
    other = len(grid.numbers) + 1  # stands for a tag that the truth does not have: always wrong
    class_of = np.array([0, *(grid.numbers.get(tag, other) for tag in row["tags"])])

    thresholds = sorted({threshold for pair in grid.seeds for threshold in pair})
    full_KHW = upsample(torch.from_numpy(attention_Khw), size).numpy()
    refined = dict(zip(thresholds, refined_tags(image_HW3, full_KHW, thresholds), strict=True))
    worked_on_HW = resize_map(truth_HW, size)
    seeds: dict[Candidate, np.ndarray] = {
        (sure, possible): count_confident(agreed(refined[sure], refined[possible]), worked_on_HW, class_of[1:])
        for sure, possible in grid.seeds
    }

    network = _network(config, backbone, irnet)
    (relations,) = network.relations([image_HW3])
    labels = {}
    for candidate in grid.labels:
        found = _at(network, config, *candidate).synthesize(attention_Khw, relations, size)
        semantic_HW = class_of[resize_map(found.semantic, own_size)]
        labels[candidate] = count_labels(_predictions(row, found), truth.instances, semantic_HW, truth_HW, other + 1)
    return Counts(seeds, labels)


def _at(network: LabelsNetwork, config: Config, background: float) -> LabelsNetwork:
    """The same network with another background threshold."""
    other = copy.copy(network)
    other.knobs = config.labels.model_copy(update={"background": background})
    return other


def _predictions(row: Row, found: Masks) -> list[Prediction]:
    size = [row["height"], row["width"]]
    return [
        Prediction(row["image_id"], i["class_name"], i["score"], {"size": size, "counts": i["rle"].encode()})
        for i in encode_instances(row, found)
    ]


@functools.cache
def _network(config: Config, backbone: Backbone, irnet: Folder) -> LabelsNetwork:
    """The network of this process."""
    return LabelsNetwork(config, backbone, irnet, gpu=False)
