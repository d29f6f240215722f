"""Mean AP and the weak tags by hand."""

from __future__ import annotations

from typing import Any

import pytest

from irnet_ray.report.classifier import known_tags


def measured(**tags: tuple[float, int]) -> dict[str, Any]:
    return {"held_out": 12, "tags": {name: {"ap": ap, "images": images} for name, (ap, images) in tags.items()}}


def test_weak_tags_are_those_with_a_low_ap_on_enough_images() -> None:
    found = measured(cat=(0.9, 6), cup=(0.2, 3), dog=(0.5, 4), emu=(0.1, 2), ant=(0.2, 5), bed=(0.3, 3))
    known = known_tags(found, 8)
    assert known["weak"] == ["ant", "cup", "bed"]
    assert (known["held_out"], known["not_measured"], known["tags"]) == (12, 2, found["tags"])
    assert known["mean_ap"] == pytest.approx(2.2 / 6)


@pytest.mark.parametrize("nothing", [None, {}, {"held_out": 0, "tags": {}}])
def test_nothing_measured(nothing: dict[str, Any] | None) -> None:
    assert known_tags(nothing, 3) == {"held_out": 0, "mean_ap": None, "weak": [], "not_measured": 3, "tags": {}}
