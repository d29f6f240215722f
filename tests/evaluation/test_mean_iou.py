import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score

from irnet_ray.evaluation.mean_iou import IntersectionOverUnion
from irnet_ray.evaluation.truth import UNKNOWN


def test_a_case_worked_by_hand():
    iou = IntersectionOverUnion(4)
    truth = np.array([[0, 0, 1, 1], [2, UNKNOWN, 1, 1]])
    found = np.array([[0, 1, 1, 1], [2, 2, 3, 0]])
    iou.add(found, truth)
    # background 1 of 3, class 1: 2 of 5, class 2: 1 of 1 (a pixel is unknown), class 3: no truth
    assert iou.by_class() == pytest.approx([1 / 3, 2 / 5, 1, np.nan], nan_ok=True)
    assert iou.mean() == pytest.approx((1 / 3 + 2 / 5 + 1) / 3)


def test_scikit_learn_agrees_over_several_images():
    rng = np.random.default_rng(0)
    iou = IntersectionOverUnion(6)
    truths, founds = [], []
    for shape in [(5, 9), (12, 3), (1, 1)]:
        truths.append(rng.integers(0, 6, shape))
        founds.append(np.where(rng.random(shape) < 0.5, truths[-1], rng.integers(0, 6, shape)))
        iou.add(founds[-1], truths[-1])
    truth, found = (np.concatenate([x.ravel() for x in maps]) for maps in (truths, founds))
    assert iou.by_class() == pytest.approx(jaccard_score(truth, found, average=None))
    assert iou.mean() == pytest.approx(jaccard_score(truth, found, average="macro"))
    table = confusion_matrix(truth, found)
    assert np.array_equal(iou.intersection, table.diagonal())
    assert np.array_equal(iou.truth, table.sum(1))
    assert np.array_equal(iou.predicted, table.sum(0))


def test_counts_of_disjoint_images_merge():
    rng = np.random.default_rng(0)
    maps = [(rng.integers(0, 4, (5, 6)), rng.integers(0, 4, (5, 6))) for _ in range(3)]
    whole, merged = IntersectionOverUnion(4), IntersectionOverUnion(4)
    for found, truth in maps:
        whole.add(found, truth)
        one = IntersectionOverUnion(4)
        one.add(found, truth)
        merged.merge(one)
    assert np.array_equal(merged.by_class(), whole.by_class()) and 0 < whole.mean() < 1


def test_numbers_over_255_are_classes():
    iou = IntersectionOverUnion(301)
    iou.add(np.array([[255, 300, 0]], np.int32), np.array([[255, 300, UNKNOWN]], np.int32))
    assert iou.by_class()[[255, 300]] == pytest.approx([1, 1])
    assert np.isnan(iou.by_class()[0])


def test_nothing_seen_and_maps_that_do_not_fit():
    iou = IntersectionOverUnion(3)
    assert np.isnan(iou.mean())
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(3, 2\)"):
        iou.add(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
    with pytest.raises(ValueError, match=r"\[0, 3\), got 3 to 3"):
        iou.add(np.full((1, 1), 3), np.zeros((1, 1), np.uint8))
