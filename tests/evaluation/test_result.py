import json
import math

import pytest

from irnet_ray.evaluation.result import Evaluation, Scores

NAN = float("nan")


@pytest.fixture
def evaluation():
    cam = Scores(
        {"cat": 0.1, "cow": 0.3},
        {"cat": 0.0, "cow": 0.1},
        0.25,
        {"background": 0.8, "cat": NAN, "cow": 0.4},
        9,
        30,
    )
    labels = Scores(
        {"cat": 0.5, "cow": 1.0},
        {"cat": 0.2, "cow": 0.4},
        0.5,
        {"background": 0.9, "cat": NAN, "cow": 0.5},
        10,
        25,
    )
    return Evaluation(cam, labels, images=10, images_outside_run=3, truth_instances={"cat": 20, "cow": 1})


def test_means_leave_out_what_has_no_truth(evaluation):
    assert evaluation.cam.summary == pytest.approx({"ap50": 0.2, "ap70": 0.05, "ap50_any_class": 0.25, "miou": 0.6})
    assert math.isnan(Scores({}, {}, NAN, {}, 0, 0).summary["ap50"])


def test_json_is_plain(evaluation):
    made = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert made["labels"]["ap50"] == 0.75
    assert made["labels"]["classes"]["iou"] == {"background": 0.9, "cat": None, "cow": 0.5}
    assert made["cam"]["miou"] == pytest.approx(0.6)
    assert (made["images"], made["images_outside_run"], made["truth_instances"]["cat"]) == (10, 3, 20)


def test_table_is_aligned_and_in_percent(evaluation):
    assert evaluation.table() == (
        "        AP50  AP70  AP50 any class  mIoU  instances  images\n"
        "CAM     20.0   5.0            25.0  60.0         30       9\n"
        "labels  75.0  30.0            50.0  70.0         25      10\n"
        "truth                                            21      10\n"
        "\n"
        "class       truth  AP50 CAM  labels  AP70 CAM  labels  IoU CAM  labels\n"
        "background                                                80.0    90.0\n"
        "cat            20      10.0    50.0       0.0    20.0        -       -\n"
        "cow             1      30.0   100.0      10.0    40.0     40.0    50.0\n"
        "\n"
        "3 images of the truth are not in this run and were left out."
    )
