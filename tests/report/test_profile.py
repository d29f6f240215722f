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
        ("write", "bound by write (2 % of the work); first: a bigger unit_size"),
        ("start-up", "bound by start-up; first: nothing"),
    ],
)
def test_each_bound_has_one_setting_to_change_first(bound: str, said: str) -> None:
    assert advice({"bound": bound, "step_seconds": SECONDS}).startswith(said)


def test_what_this_software_does_not_know_is_told_as_it_is() -> None:
    assert advice({"bound": "tape", "step_seconds": {}}) == "bound by tape"
