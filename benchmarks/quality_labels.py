"""What each change to the published label synthesis gains.

    python benchmarks/quality_labels.py OUT --truth T.json

OUT is a finished run. Its networks and seeds are used as they are; nothing is trained. The first rows are the published
synthesis on the same seeds, and single changes of it. The rows after "our synthesis" are single changes of ours. Prints
Markdown.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco
from quality_common import Run, heading, row_of_figures
from scipy import ndimage
from torch.nn.functional import interpolate

from irnet_ray.algorithms.maps import STRIDE
from irnet_ray.config.load import PRESETS, Labels
from irnet_ray.evaluation.measure import InstanceMeasure, SemanticMeasure
from irnet_ray.evaluation.truth import TruthImage
from irnet_ray.masks import decode_attention
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.stages.images import load_image
from irnet_ray.stages.labels import LabelsNetwork, Relations
from irnet_ray.stages.rows import Masks

PAPER = PRESETS["paper"]["labels"]


@dataclass(frozen=True)
class Variant:
    """One change: to the knobs, to the input of the walk, or to the resulting masks."""

    knobs: dict[str, Any] = field(default_factory=dict)
    relations: Callable[[Relations, TruthImage], Relations] = lambda own, _: own
    background: Callable[[np.ndarray], float] | None = None
    masks: Callable[[Masks, Relations], Masks] = lambda masks, _: masks


def without_field(own: Relations, _: TruthImage) -> Relations:
    return Relations(own.boundary, torch.zeros_like(own.field))


def perfect_field(own: Relations, image: TruthImage) -> Relations:
    """Each cell points at the centre of the nearest true mask. It shows how much a field can gain at most."""
    size = tuple(own.boundary.shape)
    distance_hw, field_2hw = np.full(size, np.inf), np.zeros((2, *size))
    for instance in image.instances:
        mask = torch.from_numpy(coco.decode(instance.rle)).float()
        cells_hw = interpolate(mask[None, None], size, mode="area")[0, 0].numpy() > 0.5
        if cells_hw.any():
            centre = np.argwhere(cells_hw).mean(axis=0)
            away_hw = ndimage.distance_transform_edt(~cells_hw)
            nearer_hw = away_hw < distance_hw
            field_2hw = np.where(nearer_hw, centre[:, None, None] - np.indices(size), field_2hw)
            distance_hw = np.minimum(distance_hw, away_hw)
    return Relations(own.boundary, torch.from_numpy(field_2hw).float())


def otsu(attention_Khw: np.ndarray) -> float:
    """Otsu's threshold of an image's attention, between 0.1 and 0.6."""
    values = attention_Khw.max(axis=0).ravel() if len(attention_Khw) else np.zeros(1)
    counts, edges = np.histogram(values, bins=64, range=(0, 1))
    middles = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * middles)
    above, rest = below[-1] - below, sums[-1] - sums
    means = sums / np.maximum(below, 1), rest / np.maximum(above, 1)
    return float(np.clip(edges[1:][np.argmax(below * above * (means[0] - means[1]) ** 2)], 0.1, 0.6))


def filled(found: Masks, _: Relations) -> Masks:
    return found._replace(
        masks=np.array([ndimage.binary_fill_holes(mask) for mask in found.masks], bool).reshape(found.masks.shape)
    )


def cut(found: Masks, relations: Relations) -> Masks:
    """Remove the pixels on a strong boundary from the masks."""
    height, width = found.semantic.shape
    strong = relations.boundary.numpy().repeat(STRIDE, 0).repeat(STRIDE, 1)[:height, :width] > 0.5
    return found._replace(masks=found.masks & ~strong, semantic=np.where(strong, 0, found.semantic))


VARIANTS = {
    "published synthesis": Variant(PAPER),
    "published, without field": Variant(PAPER, relations=without_field),
    "published + two scales": Variant({**PAPER, "boundary_scales": Labels().boundary_scales}),
    "published + wider centroids of long fields": Variant({**PAPER, "centroid_share": Labels().centroid_share}),
    "published + score by extent": Variant({**PAPER, "score": "extent"}),
    "published + every tag kept": Variant({**PAPER, "every_tag": True}),
    "published + scores by class": Variant({**PAPER, "per_class": True}),
    "**our synthesis**": Variant(),
    "ours, without field": Variant(relations=without_field),
    "ours, a perfect field": Variant(relations=perfect_field),
    "one scale": Variant({"boundary_scales": ()}),
    "one scale, scores by class": Variant({"boundary_scales": (), "per_class": True}),
    "one scale, background by image (Otsu)": Variant({"boundary_scales": ()}, background=otsu),
    "one scale, 64 steps": Variant({"boundary_scales": (), "steps": 64}),
    "ours, centroids under 2.5": Variant({"centroid_share": 0.0}),
    "ours, centroids under 4": Variant({"centroid_share": 0.0, "centroid": 4.0}),
    "ours, centroids under a fifth of the longest": Variant({"centroid_share": 0.2}),
    "ours, centroids under a quarter": Variant({"centroid_share": 0.25}),
    "ours, a third scale": Variant({"boundary_scales": (1.33, 1.67)}),
    "ours, scores by class": Variant({"per_class": True}),
    "ours, background 0.2": Variant({"background": 0.2}),
    "ours, background 0.3": Variant({"background": 0.3}),
    "ours, background by image (Otsu)": Variant(background=otsu),
    "ours, 64 steps": Variant({"steps": 64}),
    "ours, 128 steps": Variant({"steps": 128}),
    "ours, Otsu and 64 steps": Variant({"steps": 64}, background=otsu),
    "ours, Otsu and scores by class": Variant({"per_class": True}, background=otsu),
    "ours, holes filled": Variant(masks=filled),
    "ours, cut at strong boundaries": Variant(masks=cut),
    "ours, parts down to 0.5 %": Variant({"min_area": 0.005}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--truth", required=True)
    parser.add_argument("--only", nargs="*", help="names of variants, or parts of them")
    options = vars(parser.parse_args())
    only = options.pop("only")
    chosen = {name: v for name, v in VARIANTS.items() if not only or any(part in name for part in only)}
    torch.set_num_threads(1)
    run = Run.of(**options)
    network = LabelsNetwork(run.config, find_backbone(run.config.backbone), run.stage("irnet"), gpu=False)
    measures = {name: (InstanceMeasure(run.truth), SemanticMeasure(run.truth)) for name in chosen}
    for row in run.rows("images", "seeds"):
        image_HW3 = load_image(row["uri"], run.config.max_side)
        attention_Khw = decode_attention(row)
        seen: dict[tuple[float, ...], Relations] = {}  # by boundary scales
        for name, variant in chosen.items():
            changed = copy.copy(network)
            knobs = variant.knobs | ({"background": variant.background(attention_Khw)} if variant.background else {})
            changed.knobs = network.knobs.model_copy(update=knobs)
            scales = tuple(changed.knobs.boundary_scales)
            if scales not in seen:
                seen[scales] = changed.relations([image_HW3])[0]
            relations = variant.relations(seen[scales], run.truth[row["image_id"]])
            found = variant.masks(changed.synthesize(attention_Khw, relations, image_HW3.shape[:2]), relations)
            masks = zip(found.masks, found.class_index.tolist(), found.score.tolist(), strict=True)
            run.measure(measures[name], row, list(masks), found.semantic)
    print(heading("label synthesis"))
    for name in chosen:
        print(row_of_figures(name, run.scores(measures[name])))


if __name__ == "__main__":
    main()
