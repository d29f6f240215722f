"""Names in place of WordNet ids."""

from __future__ import annotations

from typing import Any

import pytest

from irnet_ray.report.names import named

NAMES = {"n02108422": "bull mastiff", "n01440764": "tench"}


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("n02108422 12, cat 3", "bull mastiff 12, cat 3"),
        (["n02108422", "n99999999"], ["bull mastiff", "n99999999"]),
        ({"classes": {"n01440764": {"ap": 0.5}}}, {"classes": {"tench": {"ap": 0.5}}}),
        ("n02108422/n02108422_18.JPEG", "n02108422/n02108422_18.JPEG"),
        ("/data/n02108422", "/data/n02108422"),
        ("n02108422.tar", "n02108422.tar"),
        ("crane (n01440764)", "crane (tench)"),
        (None, None),
        (7, 7),
    ],
)
def test_what_is_shown(content: Any, shown: Any) -> None:
    assert named(content, NAMES) == shown
    assert named(content, {}) is content
