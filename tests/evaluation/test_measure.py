"""Whole figures against libraries that share none of our code: pycocotools' judge and scikit-learn."""

import numpy as np
import pytest
from pycocotools import mask as coco
from sklearn.metrics import jaccard_score, precision_score, recall_score

from irnet_ray.errors import UserError
from irnet_ray.evaluation.average_precision import Prediction, TruthInstance
from irnet_ray.evaluation.bootstrap import draws
from irnet_ray.evaluation.measure import InstanceMeasure, SemanticMeasure
from irnet_ray.evaluation.truth import TruthImage

NAMES = ["cat", "cow", "dog"]
SHAPE = (12, 16)


def box(top, left, height, width):
    mask = np.zeros(SHAPE, np.uint8, order="F")
    mask[top : top + height, left : left + width] = 1
    return mask


@pytest.fixture
def world():
    """Twelve images: truth of two boxes that do not touch, and predictions shifted by some pixels."""
    rng = np.random.default_rng(0)
    images, predictions, maps = {}, {}, {}
    for number in range(12):
        image_id = f"{number:02}"
        truth, found, semantic = [], [], np.zeros(SHAPE, np.uint8)
        for left in (1, 9):
            name, height = str(rng.choice(NAMES)), int(rng.integers(4, 9))
            truth.append(TruthInstance(image_id, name, coco.encode(box(2, left, height, 5))))
            guess = box(2 + int(rng.integers(0, 3)), left + int(rng.integers(-1, 2)), height, 5)
            found.append(Prediction(image_id, str(rng.choice([name, "dog"])), float(rng.random()), coco.encode(guess)))
            semantic[guess > 0] = 1 + NAMES.index(found[-1].class_name)
        images[image_id], predictions[image_id], maps[image_id] = TruthImage(*SHAPE, truth), found, semantic
    return images, predictions, maps


def test_scikit_learn_reads_the_same_from_the_pixels(world):
    images, _, maps = world
    measure = SemanticMeasure(images)
    for image_id, semantic in reversed(maps.items()):
        measure.add(image_id, NAMES, semantic)
    scores = measure.scores(draws(12))
    true = []
    for image in images.values():
        drawn = sum((1 + NAMES.index(i.class_name)) * coco.decode(i.rle).astype(int) for i in image.instances)
        true.append(drawn)
    truth, found = np.concatenate(true).ravel(), np.concatenate(list(maps.values())).ravel()
    foreground = {"labels": [1, 2, 3], "average": "micro"}
    assert {name: figure.value for name, figure in scores.figures.items()} == pytest.approx(
        {
            "miou": jaccard_score(truth, found, average="macro"),
            "precision": precision_score(truth, found, **foreground),
            "recall": recall_score(truth, found, **foreground),
        }
    )
    assert list(scores.classes["iou"].values()) == pytest.approx(jaccard_score(truth, found, average=None))
    assert list(scores.classes["iou"]) == ["background", *NAMES]


def test_figures_lie_in_their_intervals_and_no_order_moves_them(world):
    images, predictions, maps = world
    made = []
    for order in (sorted(images), sorted(images, reverse=True)):
        instances, pixels = InstanceMeasure(images), SemanticMeasure(images)
        for image_id in order:
            instances.add(image_id, predictions[image_id])
            pixels.add(image_id, NAMES, maps[image_id])
        made.append(instances.scores(draws(12)) | pixels.scores(draws(12)))
    assert len(made[0].figures) == 6
    for name, figure in made[0].figures.items():
        low, high = figure.interval
        assert 0 < low < figure.value < high < 1
        assert np.array_equal(figure.values_R, made[1].figures[name].values_R)


def test_one_image_over_and_over_leaves_no_doubt(world):
    """Copies of one image: every sample of them is the same."""
    images, predictions, maps = world
    copies = {str(n): images["00"] for n in range(6)}
    instances, pixels = InstanceMeasure(copies), SemanticMeasure(copies)
    for image_id in copies:
        instances.add(image_id, predictions["00"])
        pixels.add(image_id, NAMES, maps["00"])
    scores = instances.scores(draws(6)) | pixels.scores(draws(6))
    for figure in scores.figures.values():
        assert np.ptp(figure.values_R) < 1e-12


def test_images_that_never_came_hold_nothing(world):
    images, predictions, maps = world
    instances, pixels = InstanceMeasure(images), SemanticMeasure(images)
    instances.add("00", predictions["00"])
    pixels.add("00", NAMES, maps["00"])
    half, other = instances.scores(draws(12)), pixels.scores(draws(12))
    assert (half.images, half.instances, other.images, other.instances) == (1, 2, 1, None)
    assert 0 < half.figures["ap50_any_class"].value <= 2 / 24
    assert 0 < other.figures["recall"].value < 2 / 12


def test_a_map_of_another_size_is_refused(world):
    with pytest.raises(UserError, match="label of 00 has 12 x 16 pixels, and its truth 16 x 12"):
        SemanticMeasure(world[0]).add("00", NAMES, np.zeros((16, 12), np.uint8))
