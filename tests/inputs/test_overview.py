"""Figures of what was read."""

from __future__ import annotations

import json

from tests.inputs.readings import overview


def test_figures_of_tags_and_sizes() -> None:
    data = overview(["dog", "cat"], ["cat"], [], ["ape"], sizes=[(8, 6), (80, 60), None, (9, 9)])
    found = data.to_json()
    assert json.dumps(found) and (found["images"], found["tags"], found["unreadable"]) == (4, 3, 1)
    assert (found["format"], found["why"]) == ("tags file", "it holds tags.csv")
    assert found["images_without_tags"] == 1 and found["tags_per_image"] == {"0": 1, "1": 2, "2": 1}
    assert list(found["images_per_tag"].items()) == [("cat", 2), ("ape", 1), ("dog", 1)]
    assert found["sizes"] == {"smallest": [8, 6], "median": [9, 9], "largest": [80, 60]}
    assert found["account"] == {"unit": "file", "seen": 4, "images": 4, "left_out": []}


def test_no_image_can_be_read() -> None:
    found = overview(["dog"], sizes=[None]).to_json()
    assert (found["unreadable"], found["sizes"]) == (1, {})
