import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, jaccard_score, precision_score, recall_score

from irnet_ray.evaluation.pixels import PixelCounts
from irnet_ray.evaluation.truth import UNKNOWN

ONCE = np.ones((3, 1), np.int32)


def test_a_case_worked_by_hand():
    pixels = PixelCounts(4)
    truth = np.array([[0, 0, 1, 1], [2, UNKNOWN, 1, 1]])
    found = np.array([[0, 1, 1, 1], [2, 2, 3, 0]])
    pixels.add(0, found, truth)
    once = np.ones((1, 1), np.int32)
    # background 1 of 3, class 1: 2 of 5, class 2: 1 of 1 (a pixel is unknown), class 3: no truth
    assert pixels.iou(once)[:, 0] == pytest.approx([1 / 3, 2 / 5, 1, np.nan], nan_ok=True)
    assert pixels.precision(once) == pytest.approx([3 / 5])  # of 1 1 1 / 2 3, the first 1 and the 3 are wrong
    assert pixels.recall(once) == pytest.approx([3 / 5])  # of 1 1 / 2 1 1, the last two are missed


@pytest.fixture
def maps():
    """Truth and prediction of three images; the second holds classes 0 and 1 alone."""
    rng = np.random.default_rng(0)
    truths = [rng.integers(0, classes, shape) for classes, shape in [(6, (5, 9)), (2, (12, 3)), (6, (2, 2))]]
    return [(np.where(rng.random(t.shape) < 0.5, t, rng.integers(0, 6, t.shape)), t) for t in truths]


def counted(maps):
    pixels = PixelCounts(6)
    for image, (found, truth) in enumerate(maps):
        pixels.add(image, found, truth)
    return pixels


def test_scikit_learn_agrees_over_several_images(maps):
    pixels = counted(maps)
    found, truth = (np.concatenate([x.ravel() for x in side]) for side in zip(*maps, strict=True))
    assert pixels.iou(ONCE)[:, 0] == pytest.approx(jaccard_score(truth, found, average=None))
    foreground = {"labels": [1, 2, 3, 4, 5], "average": "micro"}
    assert pixels.precision(ONCE) == pytest.approx([precision_score(truth, found, **foreground)])
    assert pixels.recall(ONCE) == pytest.approx([recall_score(truth, found, **foreground)])
    table = confusion_matrix(truth, found)
    assert np.array_equal(pixels._totals(ONCE)[..., 0], [table.diagonal(), table.sum(0), table.sum(1)])


def test_an_image_drawn_twice_counts_like_two_images(maps):
    draws = np.array([[1, 2, 0, 0], [1, 0, 3, 0], [1, 1, 0, 0]])
    pixels = counted(maps)
    for column, times in enumerate(draws.T[:3]):
        copies = counted([pair for pair, n in zip(maps, times, strict=True) for _ in range(n)])
        once = np.ones((int(times.sum()), 1))
        assert pixels.iou(draws)[:, column] == pytest.approx(copies.iou(once)[:, 0], nan_ok=True)
        assert pixels.precision(draws)[column] == copies.precision(once)[0]
        assert pixels.recall(draws)[column] == copies.recall(once)[0]
    assert np.isnan(pixels.iou(draws)[3:, 2]).all()  # the second image has no truth of these classes
    assert np.isnan(pixels.iou(draws)[:, 3]).all()


def test_nothing_found_has_no_precision_and_nothing_seen_has_no_figure():
    pixels = PixelCounts(3)
    assert np.isnan(pixels.iou(ONCE)).all() and np.isnan(pixels.recall(ONCE)).all()
    pixels.add(2, np.zeros((2, 2), int), np.ones((2, 2), int))
    assert np.isnan(pixels.precision(ONCE)).all()
    assert pixels.recall(ONCE) == [0]


def test_maps_that_do_not_fit():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3\) and \(3, 2\)"):
        PixelCounts(3).add(0, np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
