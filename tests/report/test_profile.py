"""What bounded a stage, in words."""

from __future__ import annotations

import pytest

from irnet_ray.report.profile import advice

SECONDS = {"load": 20.0, "network": 150.0, "finish": 25.0, "write": 5.0}


@pytest.mark.parametrize(
    ("bound", "said"),
    [
        ("network", "bound by network (75 % of the work); first: more workers"),
        ("load", "bound by load (10 % of the work); first: more CPU cores"),
        ("finish", "bound by finish (12 % of the work); first: more CPU cores"),
        ("write", "bound by write (2 % of the work); first: a larger unit_size"),
        ("start-up", "bound by start-up; too few images to matter"),
    ],
)
def test_each_bound_has_its_advice(bound: str, said: str) -> None:
    assert advice({"bound": bound, "step_seconds": SECONDS}).startswith(said)


def test_an_unknown_bound_is_named_without_advice() -> None:
    assert advice({"bound": "tape", "step_seconds": {}}) == "bound by tape"
