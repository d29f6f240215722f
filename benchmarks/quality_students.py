"""Quality of students against raw class attention maps.

    python benchmarks/quality_students.py OUT --truth T.json [--deeplab OUT/models/deeplab]

OUT is a finished run. Raw class attention maps become labels in two ways: with the image's tags, and with the tags that
the run's classifier guesses. The classifier was trained with the tags of these images, so it guesses better here than
on new images. DeepLab must be trained on labels of other images. Its class maps are also measured in two ways: with all
classes, and with the classes of the image's tags only. Prints Markdown.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from quality_common import Measures, Run, heading, row_of_figures

from irnet_ray.algorithms.seed_methods import METHODS
from irnet_ray.evaluation.evaluate import CAM_THRESHOLD
from irnet_ray.evaluation.measure import InstanceMeasure, SemanticMeasure
from irnet_ray.networks.backbones import find_backbone
from irnet_ray.networks.deeplab import probabilities
from irnet_ray.networks.inference import precision, to_network
from irnet_ray.runs.folder import Folder
from irnet_ray.stages.deeplab import DeepLabPredictor
from irnet_ray.stages.images import load_image
from irnet_ray.stages.seeds import SeedsNetwork
from irnet_ray.stages.student_kinds import load_student

SURE = 0.5  # probability above which a tag is guessed; if there is none, the likeliest tag is


@torch.inference_mode()
def guessed(network: SeedsNetwork, vocabulary: list[str], image_HW3: np.ndarray) -> list[str]:
    """The tags that the classifier guesses from an image and its mirror image at scale 1."""
    features = network._levels(to_network(image_HW3, network.device), 1.0)[-1].float()
    logits = network.network.classifier(features.mean(dim=(2, 3), keepdim=True)).flatten(1)
    probability = logits.sigmoid().mean(dim=0)
    sure = torch.nonzero(probability > SURE).flatten().tolist() or [int(probability.argmax())]
    return [vocabulary[number] for number in sure]


def attention_measures(run: Run) -> dict[str, Measures]:
    """Measure raw class attention maps of the image's tags, and of guessed tags."""
    vocabulary = run.vocabulary
    class_of = {name: number for number, name in enumerate(vocabulary)}
    method = METHODS[run.config.seeds.method]
    network = SeedsNetwork(
        run.config, find_backbone(run.config.backbone), method, class_of, run.stage("classifier"), None, gpu=False
    )
    told, untold = measures(run), measures(run)
    for row in run.rows("images"):
        image = load_image(row["uri"], run.config.max_side)
        for each, tags in ((told, row["tags"]), (untold, guessed(network, vocabulary, image))):
            cam = torch.from_numpy(network.cam(tags, image, run.config.seeds.scales))
            run.measure_attention(each, {**row, "tags": tags}, cam, CAM_THRESHOLD)
    return {"CAM, with tags": told, "CAM, tags guessed": untold}


@torch.inference_mode()
def deeplab_measures(run: Run, model: str) -> dict[str, Measures]:
    """Measure a DeepLab's class maps, with the image's tags and without."""
    folder = Folder(model)
    student = load_student(folder)
    predictor = DeepLabPredictor(student, folder, gpu=False)
    told, untold = measures(run), measures(run)
    for row in run.rows("images"):
        image = to_network(load_image(row["uri"], student.config.max_side), predictor.device)
        with precision(predictor.device):
            found_CHW = probabilities(predictor.network, image, student.config.deeplab.scales)
        for each, allowed in ((untold, student.vocabulary), (told, row["tags"])):
            possible = torch.tensor([True, *(name in allowed for name in student.vocabulary)])
            semantic_HW = found_CHW.masked_fill(~possible[:, None, None], -1).argmax(dim=0)
            run.measure(each, {**row, "tags": student.vocabulary}, [], semantic_HW.to(torch.uint8).numpy())
    return {"DeepLab, with tags": told, "DeepLab, without tags": untold}


def measures(run: Run) -> Measures:
    """New, empty measures."""
    return InstanceMeasure(run.truth), SemanticMeasure(run.truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", help="run directory of a finished run")
    parser.add_argument("--truth", required=True, help="COCO JSON file with the truth")
    parser.add_argument("--deeplab", metavar="MODEL", help="folder of a DeepLab trained on labels of other images")
    given = parser.parse_args()
    run = Run.of(given.out, given.truth)
    scores = {name: run.scores(each) for name, each in attention_measures(run).items()}
    if given.deeplab:
        scores |= {name: run.scores(each) for name, each in deeplab_measures(run, given.deeplab).items()}
    print(heading("raw attention, and a student"))
    for name, each in scores.items():
        print(row_of_figures(name, each))
    miou = [each.figures["miou"] for each in scores.values()]
    for name, cam, student in zip(("with tags", "without tags"), miou[:2], miou[2:], strict=False):
        gain = student - cam
        low, high = gain.interval
        print(f"DeepLab over CAM, {name}: mIoU {100 * gain.value:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]")


if __name__ == "__main__":
    main()
