"""Quality of labels against their IoU with the truth."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco
from scipy.stats import spearmanr

from irnet_ray.evaluation.average_precision import Prediction, TruthInstance
from irnet_ray.evaluation.bootstrap import draws
from irnet_ray.evaluation.ranking import Ranking, RankingMeasure
from irnet_ray.evaluation.truth import TruthImage


def rle(columns: int) -> dict[str, object]:
    """The mask of the first `columns` of 10 columns."""
    mask = np.zeros((10, 10), np.uint8, order="F")
    mask[:, :columns] = 1
    return coco.encode(mask)


def ranking(masks: list[tuple[str, int, float]], resamples: int = 20) -> Ranking:
    """Rank masks of some `columns` and a quality, each in an image whose truth is a dog of all 10 columns."""
    images = {f"{n}.jpg": TruthImage(10, 10, [TruthInstance(f"{n}.jpg", "dog", rle(10))]) for n in range(len(masks))}
    measure = RankingMeasure(images)
    for number, (name, columns, quality) in enumerate(masks):
        image_id = f"{number}.jpg"
        measure.add(image_id, [Prediction(image_id, name, 1.0, rle(columns))], [quality])
    return measure.ranking(draws(len(images), resamples))


def test_a_quality_in_the_order_of_the_iou_has_correlation_one() -> None:
    made = ranking([("dog", 9, 0.9), ("dog", 5, 0.3), ("dog", 7, 0.5), ("dog", 1, 0.1)])
    assert made.masks == 4 and made.correlation.value == pytest.approx(1)
    assert (made.better.value, made.worse.value) == (pytest.approx(0.8), pytest.approx(0.3))


def test_a_quality_in_the_opposite_order_has_correlation_minus_one() -> None:
    made = ranking([("dog", 9, 0.1), ("dog", 5, 0.5), ("dog", 1, 0.9)])
    assert made.correlation.value == pytest.approx(-1)


def test_a_mask_of_a_class_without_truth_has_iou_zero() -> None:
    made = ranking([("cat", 10, 0.9), ("dog", 10, 0.1)])
    assert (made.better.value, made.worse.value) == (0, 1)


def test_ranks_are_spearman_s_with_ties() -> None:
    rng = np.random.default_rng(0)
    masks = [("dog", int(rng.integers(1, 11)), float(rng.integers(0, 5))) for _ in range(40)]
    expected = spearmanr([c / 10 for _, c, _ in masks], [q for _, _, q in masks]).statistic
    made = ranking(masks)
    assert made.correlation.value == pytest.approx(expected)
    low, high = made.correlation.interval
    assert low <= made.correlation.value <= high and low < high


def test_two_masks_have_a_rank_correlation() -> None:
    assert ranking([("dog", 9, 0.9), ("dog", 5, 0.3)]).correlation.value == pytest.approx(1)


@pytest.mark.parametrize("masks", [[], [("dog", 3, 0.5)], [("dog", 3, 0.5), ("dog", 4, 0.5)]])
def test_too_few_masks_or_one_quality_for_all_say_nothing(masks: list[tuple[str, int, float]]) -> None:
    assert np.isnan(ranking(masks).correlation.value)
