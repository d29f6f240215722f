"""What bounds a stage: hand-worked cases."""

from __future__ import annotations

import pytest

from irnet_ray.engine.profile import profile, timed


@pytest.mark.parametrize(
    ("seconds", "gpus", "bound"),
    [
        # 100 s, 2 actors, 4 cores: 400 core seconds, 200 actor seconds.
        ({"load": 20, "network": 190, "finish": 30, "write": 5}, 0, "network"),
        ({"load": 20, "network": 100, "finish": 250, "write": 5}, 0, "finish"),
        ({"load": 20, "network": 100, "finish": 60, "write": 5}, 0, "start-up"),
        ({"load": 20, "network": 190, "finish": 30, "write": 5}, 2, "network"),
        ({"load": 20, "network": 60, "finish": 350, "write": 5}, 2, "finish"),
        ({"load": 300, "network": 150, "finish": 30, "write": 5}, 2, "load"),  # cores 84 % busy, GPUs 75 %
        ({"load": 10, "network": 20, "finish": 30, "write": 300}, 2, "write"),
        ({"load": 20, "network": 60, "finish": 60, "write": 5}, 2, "start-up"),
        ({}, 0, "start-up"),
    ],
)
def test_the_bound_is_the_slowest_part(seconds: dict[str, float], gpus: int, bound: str) -> None:
    found = profile(50, 100.0, seconds, actors=2, cpus=4, gpus=gpus)
    assert found["bound"] == bound
    assert found["images_per_second"] == 0.5
    assert found["idle_seconds"] == 200 - seconds.get("network", 0)


def test_without_a_duration_there_is_no_rate() -> None:
    assert profile(0, 0.0, {}, 0, 0, 0)["images_per_second"] is None


def test_seconds_of_a_step_add_up_even_if_it_fails() -> None:
    seconds: dict[str, float] = {}
    with timed("load", seconds):
        pass
    first = seconds["load"]
    with pytest.raises(ValueError), timed("load", seconds):
        raise ValueError
    assert seconds["load"] > first > 0 and list(seconds) == ["load"]
