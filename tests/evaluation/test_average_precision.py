import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from irnet_ray.evaluation.average_precision import (
    Prediction,
    TruthInstance,
    area_under_curve,
    average_precision,
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


def test_pycocotools_decides_alike():
    """Random boxes of three classes in 30 images: COCOeval's own verdicts, and its 101-point AP."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    names = ["cat", "cow", "dog"]
    truth, predictions, annotations, results = [], [], [], []
    for image in range(1, 31):
        for _ in range(rng.integers(0, 6)):
            left, name = int(rng.integers(0, 28)), int(rng.integers(0, 3))
            box = (left, left + int(rng.integers(4, 12)))
            mask = rle(*box)
            truth.append(TruthInstance(str(image), names[name], mask))
            annotation = {"id": len(truth), "image_id": image, "category_id": name + 1, "iscrowd": 0}
            annotations.append({**annotation, "segmentation": mask, "area": float(coco.area(mask))})
            for _ in range(rng.integers(0, 3)):
                left = max(0, box[0] + int(rng.integers(-3, 4)))
                guess = rle(left, max(left + 1, min(40, box[1] + int(rng.integers(-3, 4)))))
                score = float(rng.random())
                predictions.append(Prediction(str(image), names[name], score, guess))
                results.append({"image_id": image, "category_id": name + 1, "score": score, "segmentation": guess})
    theirs = COCO()
    theirs.dataset = {
        "info": {},
        "images": [{"id": n, "width": 40, "height": 10} for n in range(1, 31)],
        "annotations": annotations,
        "categories": [{"id": n + 1, "name": name} for n, name in enumerate(names)],
    }
    theirs.createIndex()
    judge = COCOeval(theirs, theirs.loadRes(results), "segm")
    judge.params.iouThrs = np.array([0.5])
    judge.evaluate()
    judge.accumulate()
    ours = average_precision(predictions, truth, 0.5)
    verdicts = 0
    for category, name in enumerate(names):
        area = judge.eval["precision"][0, :, category, 0, 2].mean()
        assert ours[name] == pytest.approx(area, abs=0.01)
        for image in range(1, 31):
            entry = judge.evalImgs[category * 4 * 30 + image - 1]  # by category, then area range, then image
            if entry is None:
                continue
            assert (entry["category_id"], entry["image_id"]) == (category + 1, image)
            found = sorted(
                (p for p in predictions if (p.image_id, p.class_name) == (str(image), name)),
                key=lambda p: -p.score,
            )
            wanted = [t for t in truth if (t.image_id, t.class_name) == (str(image), name)]
            assert match(found, wanted, 0.5) == [bool(number) for number in entry["dtMatches"][0]]
            verdicts += len(found)
    assert verdicts == len(predictions) > 50
