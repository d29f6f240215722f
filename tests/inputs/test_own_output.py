"""What irnet-ray wrote itself is found by what a folder holds."""

from __future__ import annotations

import pytest

from irnet_ray.inputs.listing import OWN_EXPORT, OWN_RUN
from irnet_ray.inputs.own_output import own_output

RUN = ["stages/labels-0/rows/x.parquet", "show.png", "models/deeplab/weights.safetensors"]


@pytest.mark.parametrize("sign", ["current.json", "config.json", "versions/0.json"])
@pytest.mark.parametrize("below", ["out", "deep/er/out"])
def test_a_run_directory_is_found_wherever_it_is(sign: str, below: str) -> None:
    run = [f"{below}/{name}" for name in (*RUN, sign)]
    assert own_output(["cat/a.png", f"{below}2/a.png", *run]) == dict.fromkeys(run, OWN_RUN)


def test_in_a_data_folder_that_is_the_run_directory_the_images_stay() -> None:
    found = own_output(["cat/a.png", "a.png", "current.json", "config.json", *RUN])
    assert found == dict.fromkeys(RUN, OWN_RUN)


@pytest.mark.parametrize(
    "export",
    [
        ["data.yaml", "names.csv", "images/train/a.jpg", "labels/train/a.txt"],
        ["labels.txt", "JPEGImages/a.jpg", "SegmentationClass/a.png", "SegmentationObject/a.png"],
    ],
)
def test_an_export_is_found_below_a_data_folder_and_read_where_it_is_named(export: list[str]) -> None:
    below = [f"export/{name}" for name in export]
    assert own_output(["cat/a.png", *below]) == dict.fromkeys(below, OWN_EXPORT)
    assert own_output(export) == {}


def test_a_yolo_data_set_of_others_is_no_export_of_ours() -> None:
    assert own_output(["cat/a.png", *(f"x/{name}" for name in ("data.yaml", "images/a.jpg", "labels/a.txt"))]) == {}


def test_a_class_that_is_called_like_one_of_our_folders_is_none() -> None:
    assert own_output(["stages/a.png", "models/b.png", "labels/c.png", "x/config.json"]) == {}
