import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from irnet_ray.evaluation import average_precision as module
from irnet_ray.evaluation.average_precision import (
    AveragePrecision,
    Prediction,
    TruthInstance,
    area_under_curve,
    match,
)


def rle(left, right, top=0, bottom=10):
    """Columns left..right of a 10 x 40 image."""
    mask = np.zeros((10, 40), np.uint8, order="F")
    mask[top:bottom, left:right] = 1
    return coco.encode(mask)


def predicted(score, *box, image="a", name="cat"):
    return Prediction(image, name, score, rle(*box))


def true(*box, image="a", name="cat", crowd=False):
    return TruthInstance(image, name, rle(*box), crowd)


def average_precision(predictions, truth, iou):
    """AP of every class that has truth, over all images."""
    total = AveragePrecision(iou)
    ids = sorted({one.image_id for one in [*predictions, *truth]})
    for number, image_id in enumerate(ids):
        total.add(number, *([one for one in side if one.image_id == image_id] for side in (predictions, truth)))
    return {name: float(area) for name, (area,) in total.by_class(np.ones((len(ids), 1), np.int32)).items()}


def test_a_case_worked_by_hand():
    """Four true cats; verdicts T F T T F: precision 1, 1/2, 2/3, 3/4, 3/5 at recall 1, 1, 2, 3, 3 fourths.

    The envelope is 1, 3/4, 3/4 at the three hits, so AP = (1 + 3/4 + 3/4) / 4 = 0.625.
    """
    truth = [true(0, 10), true(20, 30), true(0, 10, image="b"), true(30, 40, image="b")]
    predictions = [
        predicted(0.9, 0, 10),
        predicted(0.8, 1, 10),  # the same cat again
        predicted(0.7, 20, 26),  # IoU 0.6
        predicted(0.6, 0, 9, image="b"),
        predicted(0.5, 15, 34, image="b"),  # IoU 4/25
    ]
    assert average_precision(predictions, truth, 0.5) == {"cat": pytest.approx(0.625)}
    # At 0.7 the third is false too: T F F T F, envelope 1 and 2/4 at the two hits.
    assert average_precision(predictions, truth, 0.7) == {"cat": pytest.approx((1 + 0.5) / 4)}


def test_classes_are_apart_and_need_truth():
    truth = [true(0, 10, name="cat"), true(20, 30, name="dog")]
    predictions = [predicted(0.9, 0, 10, name="dog"), predicted(0.8, 0, 10, name="cow")]
    assert average_precision(predictions, truth, 0.5) == {"cat": 0.0, "dog": 0.0}
    assert average_precision([], truth, 0.5) == {"cat": 0.0, "dog": 0.0}
    assert average_precision(predictions, [], 0.5) == {}


def test_the_iou_itself_suffices():
    assert average_precision([predicted(0.9, 0, 5)], [true(0, 10)], 0.5) == {"cat": 1.0}


def test_the_best_free_truth_is_taken():
    first, second = predicted(0.9, 0, 20), predicted(0.8, 0, 20)
    assert match([first, second], [true(0, 14), true(0, 18)], 0.5) == [True, True]


def test_crowds_are_neither_wanted_nor_wrong():
    truth = [true(0, 10), true(20, 40, crowd=True)]
    inside, across, cat = predicted(0.9, 25, 30), predicted(0.8, 12, 26), predicted(0.7, 0, 10)
    assert match([inside, across, cat], truth, 0.5) == [None, False, True]
    assert average_precision([inside, cat], truth, 0.5) == {"cat": 1.0}
    assert average_precision([inside], truth[1:], 0.5) == {}


@given(st.lists(st.booleans(), max_size=12), st.integers(0, 5))
@settings(max_examples=50)
def test_area_is_the_mean_over_hits_of_the_best_precision_from_there(verdicts, missed):
    truth = max(sum(verdicts) + missed, 1)
    precision = [sum(verdicts[: n + 1]) / (n + 1) for n in range(len(verdicts))]
    by_hand = sum(max(precision[n:]) for n, hit in enumerate(verdicts) if hit) / truth
    assert area_under_curve(verdicts, truth) == pytest.approx(by_hand)


def test_equal_scores_do_not_depend_on_order():
    truth = [true(0, 10, image=name) for name in "abc"]
    predictions = [
        predicted(0.5, 0, 10, image="b"),
        predicted(0.5, 20, 30, image="a"),
        predicted(0.5, 0, 10, image="c"),
    ]
    areas = {tuple(average_precision(order, truth, 0.5).values()) for order in itertools.permutations(predictions)}
    assert len(areas) == 1


def random_world(images=30, seed=0):
    """True boxes of three classes that do not overlap, and guesses near and beside them; scores all differ."""
    rng = np.random.default_rng(seed)
    names = ["cat", "cow", "dog"]
    truth, predictions = [], []
    for image in range(1, images + 1):
        left = int(rng.integers(0, 6))
        for _ in range(rng.integers(0, 5)):
            right = min(40, left + int(rng.integers(4, 12)))
            name = str(rng.choice(names))
            truth.append(TruthInstance(str(image), name, rle(left, right)))
            for _ in range(rng.integers(0, 4)):
                start = max(0, left + int(rng.integers(-2, 3)))
                guess = rle(start, max(start + 1, min(40, right + int(rng.integers(-2, 3)))))
                guessed = name if rng.random() < 0.8 else str(rng.choice(names))
                predictions.append(Prediction(str(image), guessed, float(rng.random()), guess))
            if (left := right + int(rng.integers(0, 4))) > 34:
                break
    return truth, predictions, names


def coco_judge(truth, predictions, names, images, iou):
    """COCOeval of the same data, at one IoU and with matching done."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    number = {name: n for n, name in enumerate(names, start=1)}
    theirs = COCO()
    theirs.dataset = {
        "info": {},
        "images": [{"id": n, "width": 40, "height": 10} for n in range(1, images + 1)],
        "annotations": [
            {
                "id": n,
                "image_id": int(t.image_id),
                "category_id": number[t.class_name],
                "iscrowd": 0,
                "segmentation": t.rle,
                "area": float(coco.area(t.rle)),
            }
            for n, t in enumerate(truth, start=1)
        ],
        "categories": [{"id": n, "name": name} for name, n in number.items()],
    }
    theirs.createIndex()
    results = [
        {"image_id": int(p.image_id), "category_id": number[p.class_name], "score": p.score, "segmentation": p.rle}
        for p in predictions
    ]
    judge = COCOeval(theirs, theirs.loadRes(results), "segm")
    judge.params.iouThrs = np.array([iou])
    judge.params.areaRng, judge.params.areaRngLbl = [[0, 1e10]], ["all"]
    return judge


def coco_all_point(judge, category, truth_count):
    """COCOeval's own curve, read at every recall that there is instead of at 101: its mean is the area."""
    judge.params.recThrs = np.arange(1, truth_count + 1) / truth_count
    judge.accumulate()
    return judge.eval["precision"][0, :, category, 0, -1].mean()


@pytest.mark.parametrize("iou", [0.5, 0.7])
@pytest.mark.parametrize("seed", range(3))
def test_pycocotools_decides_alike(iou, seed):
    truth, predictions, names = random_world(seed=seed)
    judge = coco_judge(truth, predictions, names, 30, iou)
    judge.evaluate()
    ours = average_precision(predictions, truth, iou)
    verdicts = hits = 0
    for category, name in enumerate(names):
        for image in range(1, 31):
            entry = judge.evalImgs[category * 30 + image - 1]  # by category, then image
            if entry is None:
                continue
            assert (entry["category_id"], entry["image_id"]) == (category + 1, image)
            found = sorted(
                (p for p in predictions if (p.image_id, p.class_name) == (str(image), name)),
                key=lambda p: -p.score,
            )
            wanted = [t for t in truth if (t.image_id, t.class_name) == (str(image), name)]
            made = match(found, wanted, iou)
            assert made == [bool(number) for number in entry["dtMatches"][0]]
            verdicts += len(made)
            hits += sum(map(bool, made))
        count = sum(t.class_name == name for t in truth)
        assert ours[name] == pytest.approx(coco_all_point(judge, category, count), abs=1e-12)
    assert verdicts == len(predictions) > 50
    assert 10 < hits < verdicts - 10


def test_pycocotools_decides_alike_whatever_the_class():
    truth, predictions, names = random_world()
    judge = coco_judge(truth, predictions, names, 30, 0.5)
    judge.params.useCats = 0
    judge.evaluate()
    ours = average_precision(
        [replace(p, class_name="any") for p in predictions], [replace(t, class_name="any") for t in truth], 0.5
    )
    assert ours["any"] == pytest.approx(coco_all_point(judge, 0, len(truth)), abs=1e-12)
    assert 0.1 < ours["any"] < 0.9


def counted(truth, predictions, ids):
    total = AveragePrecision(0.5)
    for number, image_id in enumerate(ids):
        total.add(
            number, [p for p in predictions if p.image_id == image_id], [t for t in truth if t.image_id == image_id]
        )
    return total


def test_counts_of_disjoint_images_merge():
    truth, predictions, _ = random_world(8)
    merged, whole = AveragePrecision(0.5), AveragePrecision(0.5)
    for number in range(8):
        of_image = [[one for one in side if one.image_id == str(number + 1)] for side in (predictions, truth)]
        one = AveragePrecision(0.5)
        one.add(number, *of_image)
        whole.add(number, *of_image)
        merged.merge(one)
    assert merged == whole
    assert sum(map(len, whole.verdicts.values())) == len(predictions)


@given(st.lists(st.integers(0, 3), min_size=8, max_size=8))
@settings(max_examples=30, deadline=None)
def test_an_image_drawn_twice_counts_like_two_images(times):
    """Weights against real copies of the images, among them classes and samples left without any truth."""
    truth, predictions, _ = random_world(8)
    ids = [str(n) for n in range(1, 9)]
    draws = np.array([[1] * 8, times]).T
    weighted = counted(truth, predictions, ids).by_class(draws)
    copies = [image_id for image_id, n in zip(ids, times, strict=True) for _ in range(n)]
    real = counted(truth, predictions, copies).by_class(np.ones((len(copies), 1), int))
    assert real.keys() == {name for name, areas in weighted.items() if not np.isnan(areas[1])}
    for name, area in real.items():
        assert weighted[name][1] == pytest.approx(area[0])


def test_many_samples_are_worked_on_in_blocks(monkeypatch):
    truth, predictions, _ = random_world()
    draws = np.random.default_rng(0).integers(0, 3, (30, 40))
    total = counted(truth, predictions, [str(n) for n in range(1, 31)])
    whole = total.by_class(draws)
    monkeypatch.setattr(module, "BLOCK", 64)
    parts = total.by_class(draws)
    assert len(whole) == 3
    for name in whole:
        assert parts[name] == pytest.approx(whole[name])
