"""What students, who are told no tags, are compared with: `python benchmarks/quality_students.py OUT --truth T.json`.

OUT is a finished run. Raw class attention maps become labels by themselves: those of the image's tags, and those of
the tags that the run's classifier guesses, which is all that it gives where nobody says the tags. It was trained with
the tags of these very images, so it guesses better than on images it never saw. Prints Markdown.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from quality_common import Run, heading, row_of_figures

from irnet_ray.evaluation.evaluate import CAM_THRESHOLD
from irnet_ray.evaluation.measure import InstanceMeasure, SemanticMeasure
from irnet_ray.networks.inference import to_network
from irnet_ray.stages.images import load_image
from irnet_ray.stages.seeds import SeedsNetwork

SURE = 0.5  # probability above which a tag is guessed; where none is, the likeliest


@torch.inference_mode()
def guessed(network: SeedsNetwork, vocabulary: list[str], image_HW3: np.ndarray) -> list[str]:
    """The tags that the classifier gives an image, seen with its mirror image at scale 1."""
    features = network._levels(to_network(image_HW3, network.device), 1.0)[-1].float()
    logits = network.network.classifier(features.mean(dim=(2, 3), keepdim=True)).flatten(1)
    probability = logits.sigmoid().mean(dim=0)
    sure = torch.nonzero(probability > SURE).flatten().tolist() or [int(probability.argmax())]
    return [vocabulary[number] for number in sure]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--truth", required=True)
    run = Run.open(**vars(parser.parse_args()))
    vocabulary = run.version["vocabulary"]
    class_of = {name: number for number, name in enumerate(vocabulary)}
    network = SeedsNetwork(run.config, class_of, run.stage("classifier"), None, gpu=False)
    variants = {
        name: (InstanceMeasure(run.truth), SemanticMeasure(run.truth))
        for name in ("CAM of the image's tags", "CAM of the tags that the classifier guesses")
    }
    for row in run.rows("images"):
        image = load_image(row["uri"], run.config.max_side)
        for measures, tags in zip(variants.values(), (row["tags"], guessed(network, vocabulary, image)), strict=True):
            cam = torch.from_numpy(network.cam(tags, image, run.config.seeds.scales))
            run.measure_attention(measures, {**row, "tags": tags}, cam, CAM_THRESHOLD)
    print(heading("raw attention"))
    for name, measures in variants.items():
        print(row_of_figures(name, run.scores(measures)))


if __name__ == "__main__":
    main()
