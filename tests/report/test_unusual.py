"""Each rule on both sides of its bound."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from irnet_ray.report.summary import Summary, Tally
from irnet_ray.report.unusual import unusual

AREA = 1000  # pixels and cells of an image


def tally(images: int = 10, empty: int = 0, share: float = 0.2, cam: float = 0.2, label: float | None = None) -> Tally:
    """Counts of a class that covers `share` of its images' pixels, and of their cells `cam` in the CAM."""
    area = images * AREA
    cells = round((share if label is None else label) * area)
    return Tally(images, empty, 2 * images, images, area, round(share * area), area, round(cam * area), cells)


def found(classes: dict[str, Tally], every: Tally | None = None) -> list[tuple[str, list[str]]]:
    summary = Summary(every or tally(100), classes)
    return [(entry["what"], entry["cases"]) for entry in unusual(summary.to_json(classes))]


def usual(**others: Tally) -> dict[str, Tally]:
    return {**{name: tally() for name in "abcde"}, **others}


def test_nothing_is_unusual_in_a_good_run_or_in_none() -> None:
    assert found(usual()) == []
    assert found({}, Tally()) == []
    assert found({"cat": Tally()}, Tally()) == []


@pytest.mark.parametrize(
    ("images", "empty", "said"), [(100, 11, "11.0 %"), (100, 10, None), (9, 2, None), (9, 3, "33.3 %")]
)
def test_images_without_an_instance(images: int, empty: int, said: str | None) -> None:
    entries = [("overall", [f"no instance in {said} of images"])]
    assert found({}, tally(images, empty)) == (entries if said else [])


def test_labels_that_leave_little_background() -> None:
    assert found({}, tally(100, share=0.75)) == []
    assert found({}, tally(100, share=0.76)) == [("overall", ["76.0 % of pixels labelled"])]


def test_many_instances_per_image() -> None:
    many, enough = tally(100), tally(100)
    many.instances, enough.instances = 501, 500
    assert found({}, enough) == []
    assert found({}, many) == [("overall", ["5.0 instances per image"])]


def test_classes_whose_images_mostly_have_no_instance() -> None:
    classes = usual(clock=tally(9, 7), vase=tally(6, 4), cup=tally(8, 8), bed=tally(10, 5), emu=tally(4, 4))
    assert found(classes) == [
        ("no instance in most images of a class", ["cup (8 of 8)", "clock (7 of 9)", "vase (4 of 6)"])
    ]


def test_classes_that_cover_much_more_or_less_than_the_others() -> None:
    sizes = {"sky": 0.65, "wall": 0.7, "bus": 0.59, "bird": 0.02, "cup": 0.04, "emu": 0.0}
    classes = usual(**{name: tally(share=share, cam=share, images=5) for name, share in sizes.items()})
    assert found(classes) == [
        ("over 3 times the median class, 20.0 % of its images", ["wall (70.0 %)", "sky (65.0 %)"]),
        ("under 0.17 times the median class, 20.0 % of its images", ["emu (0.0 %)", "bird (2.0 %)"]),
    ]
    few = {name: one for name, one in classes.items() if name in ("a", "b", "sky")}
    assert found(few) == []  # a median of three
    classes["sky"].images = classes["wall"].images = classes["bird"].images = classes["emu"].images = 4
    assert found(classes) == []


def test_a_median_of_zero_measures_nothing() -> None:
    assert (
        found({name: tally(share=share, cam=share) for name, share in zip("abcd", (0, 0, 0, 0.3), strict=True)}) == []
    )


def test_classes_whose_label_outgrew_its_cam() -> None:
    classes = usual(
        sky=tally(cam=0.05, label=0.3),
        sea=tally(cam=0.2, label=0.41),
        bus=tally(cam=0.2, label=0.4),
        cup=tally(cam=0.001, label=0.009),
        new=tally(cam=0.0, label=0.1),
        emu=tally(4, cam=0.1, label=0.9),
    )
    assert found(classes) == [
        ("label over 2 times its CAM", ["sky (5.0 % to 30.0 %)", "sea (20.0 % to 41.0 %)", "new (0.0 % to 10.0 %)"])
    ]


def test_there_is_one_entry_a_rule_however_many_classes() -> None:
    some = {f"small {n}": tally(share=0.01, empty=9, cam=0.1, label=0.9) for n in range(90)}
    more = {f"large {n}": tally(share=0.9, empty=9, cam=0.1, label=0.9) for n in range(90)}
    every = tally(100, 50, share=0.9)
    every.instances = 900
    entries = found({**usual(), **some, **more, **{f"usual {n}": tally() for n in range(99)}}, every)
    assert [len(cases) for _, cases in entries] == [3, 180, 90, 90, 180]


def test_it_works_on_what_is_read_back() -> None:
    report: dict[str, Any] = json.loads(json.dumps(Summary(tally(100, 50), usual()).to_json(usual())))
    assert unusual(report) == [{"what": "overall", "cases": ["no instance in 50.0 % of images"]}]


def test_images_without_a_tag_need_no_instance() -> None:
    assert found({}, replace(tally(100, 50), untagged=50)) == []
    said = "no instance in 20.0 % of tagged images"
    assert found({}, replace(tally(100, 60), untagged=50)) == [("overall", [said])]
