import json

import numpy as np
import pytest

from irnet_ray.evaluation.bootstrap import Figure
from irnet_ray.evaluation.ranking import Ranking
from irnet_ray.evaluation.result import AFFINITYNET, BOUNDARY, CAM, LABELS, Evaluation, Scores

NAN = float("nan")


def figure(value):
    """In the resamples 0.04 lower, as it is and 0.08 higher; 95 % of them lie from 0.038 lower to 0.076 higher."""
    return Figure(np.array([value, value - 0.04, value, value + 0.08]))


def instances(ap50, ap70, any_class, cow, images=10, count=25):
    figures = {"ap50": figure(ap50), "ap70": figure(ap70), "ap50_any_class": figure(any_class)}
    areas = {"cat": 2 * ap50 - cow, "cow": cow}
    return Scores(figures, {"ap50": areas, "ap70": areas}, images, count)


def maps(miou, precision, recall, cow, images=10):
    figures = {"miou": figure(miou), "precision": figure(precision), "recall": figure(recall)}
    return Scores(figures, {"iou": {"background": 2 * miou - cow, "cat": NAN, "cow": cow}}, images, None)


CAM_SCORES = instances(0.2, 0.05, 0.25, 0.3, 9, 30) | maps(0.6, 0.5, 0.3, 0.4)
LABEL_SCORES = instances(0.75, 0.3, 0.5, 1.0) | maps(0.7, 0.45, NAN, 0.5)


def evaluation(variants, outside=0):
    truth = {"cat": 20, "cow": 1}
    ranking = Ranking(figure(0.4), figure(0.5), figure(0.3), 25)
    return Evaluation(
        variants, images=10, images_outside_run=outside, truth_instances=truth, ranking=ranking, resamples=3
    )


@pytest.fixture
def two():
    return evaluation({CAM: CAM_SCORES, LABELS: LABEL_SCORES}, outside=3)


@pytest.fixture
def four():
    between = {BOUNDARY: instances(0.35, 0.1, 0.2, 0.5), AFFINITYNET: maps(0.55, 0.6, 0.2, 0.3)}
    return evaluation({CAM: CAM_SCORES, **between, LABELS: LABEL_SCORES})


def test_tables_are_aligned_and_in_percent(two):
    assert two.table() == (
        "instance labels                AP50                AP70      AP50 any class  instances  images\n"
        "CAM               20.0 [16.2, 27.6]     5.0 [1.2, 12.6]   25.0 [21.2, 32.6]         30       9\n"
        "labels            75.0 [71.2, 82.6]   30.0 [26.2, 37.6]   50.0 [46.2, 57.6]         25      10\n"
        "  gain           +55.0 [55.0, 55.0]  +25.0 [25.0, 25.0]  +25.0 [25.0, 25.0]\n"
        "truth                                                                               21      10\n"
        "\n"
        "semantic labels                mIoU    pixel precision       pixel recall  images\n"
        "CAM               60.0 [56.2, 67.6]  50.0 [46.2, 57.6]  30.0 [26.2, 37.6]       9\n"
        "labels            70.0 [66.2, 77.6]  45.0 [41.2, 52.6]                  -      10\n"
        "  gain           +10.0 [10.0, 10.0]  -5.0 [-5.0, -5.0]                  -\n"
        "truth                                                                          10\n"
        "\n"
        "In brackets the 95 % interval over 3 resamples of images. A gain is over the row above.\n"
        "\n"
        "Quality of 25 labels: mean IoU with the truth 50.0 [46.2, 57.6] in the better half, 30.0 [26.2, 37.6] in the "
        "worse;\nrank correlation 0.40 [0.36, 0.48].\n"
        "\n"
        "class       truth  AP50 CAM  labels  IoU CAM  labels\n"
        "background                              80.0    90.0\n"
        "cat            20      10.0    50.0        -       -\n"
        "cow             1      30.0   100.0     40.0    50.0\n"
        "\n"
        "3 images of the truth are not in this run and were left out."
    )


def test_the_ablation_is_the_papers_two_tables(four):
    instance, semantic, _, _, classes = four.table().split("\n\n")
    assert [line.split("  ")[0] for line in instance.splitlines() if not line.startswith(" ")] == [
        "instance labels",
        "CAM",
        "CAM + boundary",
        "CAM + boundary + displacement",
        "truth",
    ]
    gains = [line.split()[1] for line in instance.splitlines() if line.startswith("  gain")]
    assert gains == ["+15.0", "+40.0"]
    assert [line.split()[0] for line in semantic.splitlines()] == [
        *("semantic", "CAM", "AffinityNet", "gain", "IRNet", "gain", "truth")
    ]
    assert classes == (
        "class       truth  AP50 CAM  + boundary  + displacement  IoU CAM  AffinityNet  IRNet\n"
        "background                                                  80.0         80.0   90.0\n"
        "cat            20      10.0        20.0            50.0        -            -      -\n"
        "cow             1      30.0        50.0           100.0     40.0         30.0   50.0"
    )


def test_a_gain_of_nothing_has_no_sign_of_loss():
    same = evaluation({CAM: CAM_SCORES, LABELS: CAM_SCORES})
    assert "+0.0 [0.0, 0.0]" in same.table() and "-0.0" not in same.table()


def test_steps_go_from_row_to_row_of_each_table(two, four):
    (gains,) = two.steps().values()
    assert gains.keys() == {"ap50", "ap70", "ap50_any_class", "miou", "precision", "recall"}
    assert gains["ap50"].value == pytest.approx(0.55)
    assert {pair: sorted(gains) for pair, gains in four.steps().items()} == {
        (CAM, BOUNDARY): ["ap50", "ap50_any_class", "ap70"],
        (BOUNDARY, LABELS): ["ap50", "ap50_any_class", "ap70"],
        (CAM, AFFINITYNET): ["miou", "precision", "recall"],
        (AFFINITYNET, LABELS): ["miou", "precision", "recall"],
    }


def test_json_is_plain(four):
    made = json.loads(json.dumps(four.to_json(), allow_nan=False))
    assert list(made["variants"]) == [CAM, BOUNDARY, AFFINITYNET, LABELS]
    labels = made["variants"][LABELS]
    assert labels["ap50"]["value"] == 0.75
    assert labels["ap50"]["interval"] == pytest.approx([0.712, 0.826])
    assert labels["recall"] == {"value": None, "interval": [None, None]}
    assert labels["classes"]["iou"] == {"background": pytest.approx(0.9), "cat": None, "cow": 0.5}
    assert (labels["instances"], labels["images"]) == (25, 10)
    assert "instances" not in made["variants"][AFFINITYNET] and "miou" not in made["variants"][BOUNDARY]
    first = made["differences"][0]
    assert (first["of"], first["over"]) == (BOUNDARY, CAM)
    assert first["ap50"]["value"] == pytest.approx(0.15)
    assert first["ap50"]["interval"] == pytest.approx([0.15, 0.15])
    assert (made["images"], made["images_outside_run"], made["truth_instances"]["cat"]) == (10, 0, 20)
    assert made["resamples"] == 3
    assert (made["quality"]["masks"], made["quality"]["rank_correlation"]["value"]) == (25, 0.4)
