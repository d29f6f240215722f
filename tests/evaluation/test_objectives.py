"""The objectives of thresholds, on maps and instances small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from irnet_ray.evaluation.average_precision import AveragePrecision, Prediction, TruthInstance
from irnet_ray.evaluation.objectives import confident_objective, count_confident, count_labels, labels_objective

CAT, DOG, OTHER = 1, 2, 3  # numbers of classes; no truth holds the last


def row(*values: int) -> np.ndarray:
    return np.array([values])


def test_a_confident_map_is_counted_by_class_and_not_by_tag() -> None:
    confident = row(1, 1, 2, 2, 0, 0, 255, 255, 1).astype(np.uint8)
    truth = row(DOG, CAT, CAT, 0, 0, CAT, DOG, 0, -1)
    # The image's first tag is dog: pixel 0 and 2 are right, of 4 said and 5 that are foreground; the last is unknown.
    counts = count_confident(confident, truth, np.array([DOG, CAT]))
    assert counts.tolist() == [[2, 4, 5], [1, 2, 3]]
    # A tag that no truth holds is wrong wherever it is said.
    assert count_confident(confident, truth, np.array([OTHER, CAT])).tolist() == [[1, 4, 5], [1, 2, 3]]


def test_f_beta_of_foreground_and_background_are_averaged() -> None:
    # Precision 2/4, recall 2/5: 1.25 * 2 / (4 + 0.25 * 5); precision 1/2, recall 1/3: 1.25 / (2 + 0.25 * 3).
    counts = np.array([[2, 4, 5], [1, 2, 3]])
    precision, recall = 2 / 4, 2 / 5
    foreground = 1.25 * precision * recall / (0.25 * precision + recall)
    assert foreground == pytest.approx(2.5 / 5.25)
    assert confident_objective([counts]) == pytest.approx((2.5 / 5.25 + 1.25 / 2.75) / 2)
    # Images are counted together.
    assert confident_objective([counts, np.array([[1, 1, 0], [0, 0, 4]])]) == pytest.approx(
        (1.25 * 3 / (5 + 0.25 * 5) + 1.25 / (2 + 0.25 * 7)) / 2
    )


def test_wrong_pixels_cost_more_than_unsure_ones() -> None:
    truth = row(CAT, CAT, CAT, CAT, 0, 0, 0, 0)
    perfect, unsure, wrong = (
        confident_objective([count_confident(np.array([said], np.uint8), truth, np.array([CAT]))])
        for said in ([1, 1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 255, 0, 0, 0, 255], [1, 1, 1, 1, 1, 0, 0, 0])
    )
    assert perfect == 1
    assert 1 > unsure > wrong


def test_a_side_without_truth_and_without_a_word_does_not_count() -> None:
    assert confident_objective([np.array([[0, 0, 0], [3, 3, 3]])]) == 1
    assert confident_objective([np.array([[0, 2, 0], [3, 3, 3]])]) == 0.5  # said where there is none
    assert confident_objective([np.array([[0, 0, 2], [3, 3, 3]])]) == 0.5  # not said where there is
    assert np.isnan(confident_objective([np.zeros((2, 3), np.int64)]))


def mask(first: int, last: int) -> dict[str, object]:
    whole = np.zeros((1, 12), np.uint8, order="F")
    whole[:, first:last] = 1
    return dict(coco.encode(whole))


def test_labels_are_scored_by_the_mean_of_ap50_and_miou() -> None:
    truth = [TruthInstance("a", "cat", mask(0, 4)), TruthInstance("a", "dog", mask(8, 12))]
    found = [Prediction("a", "cat", 0.9, mask(0, 3)), Prediction("a", "cat", 0.95, mask(5, 8))]
    semantic = row(1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0)
    true = row(1, 1, 1, 1, 0, 0, 0, 0, 2, 2, 2, 2)
    counts = count_labels(found, truth, semantic, true, 4)
    # Cat: the second of two is right, AP 1/2; dog: none, AP 0. IoU: background 1 of 9, cat 3 of 7, dog 0.
    assert labels_objective([counts]) == pytest.approx(((0.5 + 0) / 2 + (1 / 9 + 3 / 7 + 0) / 3) / 2)


def test_images_are_ranked_together_and_crowds_are_no_mistakes() -> None:
    random = np.random.default_rng(4)
    counts, total = [], AveragePrecision(0.5)
    for image in range(6):
        name = f"image {image}"
        here = [TruthInstance(name, "cat", mask(0, 4)), TruthInstance(name, "cat", mask(8, 12), crowd=image == 3)]
        there = [Prediction(name, "cat", float(random.random()), mask(s, s + 4)) for s in random.integers(0, 9, 3)]
        blank = np.zeros((1, 12), np.int64)
        counts.append(count_labels(there, here, blank, blank, 3))
        total.add(image, there, here)
    # Every pixel is background in both maps: its IoU is 1, and no other class has truth.
    (area,) = total.by_class(np.ones((6, 1), int))["cat"]
    assert 0 < area < 1
    assert labels_objective(counts) == pytest.approx((area + 1) / 2)


def test_pixels_of_unknown_truth_and_images_without_instances() -> None:
    blank = np.zeros((1, 4), np.int64)
    nothing = count_labels([], [], blank, blank, 4)
    assert np.isnan(labels_objective([nothing]))
    truth = [TruthInstance("a", "cat", mask(0, 4))]
    crowded = count_labels([Prediction("a", "cat", 1.0, mask(0, 4))], truth, row(1, 1, 2, 0), row(1, 1, -1, 0), 4)
    pixels = crowded.pixels
    assert np.array_equal([pixels.intersection, pixels.predicted, pixels.truth], [[1, 2, 0, 0]] * 3)
    assert labels_objective([nothing, crowded]) == 1
