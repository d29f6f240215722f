"""What a map stage spent its time on, and what bounded it.

`profile.json` lies beside a stage's `done.json`. It describes the last run that computed any of the stage's images:

    images, seconds, images_per_second   what it computed, and the time from the start to the last commit
    step_seconds                         in `load`, `network`, `finish` and `write`, summed over all processes
    idle_seconds                         that network actors waited for images or for a core, summed
    actors, cpus, gpus                   what it ran on
    bound                                the step that the others wait for, or `start-up`
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

PROFILE = "profile.json"
STEPS = ("load", "network", "finish", "write")
BUSY = 0.5  # share of the time in use; below it, no step bounds the stage


@contextmanager
def timed(step: str, seconds: dict[str, float]) -> Iterator[None]:
    """Add the seconds that the block takes to those of a step."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - start


def profile(
    images: int, seconds: float, step_seconds: Mapping[str, float], actors: int, cpus: float, gpus: float
) -> dict[str, Any]:
    """The content of `profile.json`."""
    steps = {step: step_seconds.get(step, 0.0) for step in STEPS}
    return {
        "images": images,
        "seconds": round(seconds, 3),
        "images_per_second": round(images / seconds, 3) if seconds > 0 else None,
        "step_seconds": {step: round(value, 3) for step, value in steps.items()},
        "idle_seconds": round(max(0.0, actors * seconds - steps["network"]), 3),
        "actors": actors,
        "cpus": cpus,
        "gpus": gpus,
        "bound": _bound(steps, seconds, actors, cpus, gpus),
    }


def _bound(steps: dict[str, float], seconds: float, actors: int, cpus: float, gpus: float) -> str:
    """The step that the others wait for: on GPUs by how busy the network actors are, then by how busy the cores are."""
    on_cores = {step: value for step, value in steps.items() if step != "network" or not gpus}
    cores = sum(on_cores.values()) / max(cpus * seconds, 1e-9)
    network = steps["network"] / max(actors * seconds, 1e-9)
    if gpus and network >= max(BUSY, cores):
        return "network"
    return max(on_cores, key=lambda step: on_cores[step]) if cores >= BUSY else "start-up"
