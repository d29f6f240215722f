"""What each departure from the published label synthesis gives.

    python benchmarks/quality_labels.py OUT --truth T.json

OUT is a finished run; its networks and seeds are used as they are, and nothing is trained. The first rows are the
published synthesis on the same seeds and single changes of it, those after "all that is kept" single changes of
what is kept. Prints Markdown.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from quality_common import Run, heading, row_of_figures
from scipy import ndimage

from irnet_ray import tables
from irnet_ray.config import Labels
from irnet_ray.evaluation.measure import InstanceMeasure, SemanticMeasure
from irnet_ray.networks.inference import precision, to_network
from irnet_ray.stages.images import load_image
from irnet_ray.stages.labels import LabelsNetwork, Masks, Relations

PAPER = {"score": "peak", "merge": 0.0, "every_tag": False}
SCALES = (0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Variant:
    """One thing changed: knobs, what the walk is given, or the masks it gives."""

    knobs: dict[str, Any] = field(default_factory=dict)
    relations: Callable[[dict[float, Relations], Relations], Relations] = lambda _, own: own
    background: Callable[[np.ndarray], float] | None = None
    masks: Callable[[Masks, Relations], Masks] = lambda masks, _: masks


def without_field(_: dict[float, Relations], own: Relations) -> Relations:
    return Relations(own.boundary, torch.zeros_like(own.field))


def boundaries_of(*scales: float) -> Callable[[dict[float, Relations], Relations], Relations]:
    """The strongest boundary over these scales of the image."""

    def strongest(at: dict[float, Relations], own: Relations) -> Relations:
        return Relations(torch.stack([at[scale].boundary for scale in scales]).amax(dim=0), own.field)

    return strongest


def otsu(attention_Khw: np.ndarray) -> float:
    """The threshold that parts an image's attention best into two."""
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
    """Masks without the pixels on a strong boundary."""
    strong = (
        relations.boundary.numpy().repeat(4, 0).repeat(4, 1)[: found.semantic.shape[0], : found.semantic.shape[1]] > 0.5
    )
    return found._replace(masks=found.masks & ~strong, semantic=np.where(strong, 0, found.semantic))


VARIANTS = {
    "published synthesis": Variant(PAPER),
    "published, without field": Variant(PAPER, relations=without_field),
    "published + score by extent": Variant({**PAPER, "score": "extent"}),
    "published + fragments merged": Variant({**PAPER, "merge": Labels().merge}),
    "published + every tag kept": Variant({**PAPER, "every_tag": True}),
    "published, scores by class": Variant({**PAPER, "per_class": True}),
    "**all that is kept**": Variant(),
    "without field": Variant(relations=without_field),
    "scores divided by their class's maximum": Variant({"per_class": True}),
    "merge at 0.25": Variant({"merge": 0.25}),
    "merge at 0.75": Variant({"merge": 0.75}),
    "merge at 1": Variant({"merge": 1.0}),
    "background 0.2": Variant({"background": 0.2}),
    "background 0.3": Variant({"background": 0.3}),
    "background by image (Otsu)": Variant(background=otsu),
    "holes filled": Variant(masks=filled),
    "cut at strong boundaries": Variant(masks=cut),
    "parts under 0.5 % kept": Variant({"min_area": 0.005}),
    "parts under 2 % left out": Variant({"min_area": 0.02}),
    "64 steps": Variant({"steps": 64}),
    "16 steps": Variant({"steps": 16}),
    "boundary seen at 0.75 and 1": Variant(relations=boundaries_of(0.75, 1.0)),
    "boundary seen at 0.5, 0.75 and 1": Variant(relations=boundaries_of(*SCALES)),
}


def look(network: LabelsNetwork, image_HW3: np.ndarray) -> tuple[dict[float, Relations], Relations]:
    """IRNet's answers at several scales, and as the labels stage takes it."""
    image = to_network(image_HW3, network.device)
    with torch.inference_mode(), precision(network.device):
        at = {scale: Relations(*network.network.predict(image, scale)) for scale in SCALES}
    return at, network.relations(image_HW3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--truth", required=True)
    parser.add_argument("--only", nargs="*", help="names of variants, or parts of them")
    options = vars(parser.parse_args())
    only = options.pop("only")
    chosen = {name: v for name, v in VARIANTS.items() if not only or any(part in name for part in only)}
    torch.set_num_threads(1)
    run = Run.open(**options)
    network = LabelsNetwork(run.config, run.stage("irnet"), gpu=False)
    measures = {name: (InstanceMeasure(run.truth), SemanticMeasure(run.truth)) for name in chosen}
    for row in run.rows("images", "seeds"):
        image_HW3 = load_image(row["uri"], run.config.max_side)
        attention_Khw = tables.decode_attention(row)
        at, own = look(network, image_HW3)
        for name, variant in chosen.items():
            changed = copy.copy(network)
            knobs = variant.knobs | ({"background": variant.background(attention_Khw)} if variant.background else {})
            changed.knobs = network.knobs.model_copy(update=knobs)
            relations = variant.relations(at, own)
            found = variant.masks(changed.synthesize(attention_Khw, relations, image_HW3.shape[:2]), relations)
            masks = zip(found.masks, found.class_index.tolist(), found.score.tolist(), strict=True)
            run.measure(measures[name], row, list(masks), found.semantic)
    print(heading("label synthesis"))
    for name in chosen:
        print(row_of_figures(name, run.scores(measures[name])))


if __name__ == "__main__":
    main()
