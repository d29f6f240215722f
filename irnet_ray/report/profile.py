"""What bounded a map stage, from the seconds that its steps took, and the one setting to change first.

`profile.json` beside a stage's `done.json`, of the last run that computed anything of it:

    images, seconds, images_per_second   what it computed, and the time from its first unit to its last commit
    step_seconds                         of `load`, `network`, `finish` and `write`, summed over all processes
    idle_seconds                         of the network's actors, summed: waiting for images, or for a core
    actors, cpus, gpus                   what there was
"""

from __future__ import annotations

from typing import Any

STEPS = ("load", "network", "finish", "write")
BUSY = 0.5  # share of what there is, under which a stage is bound by nothing that it does

_FIRST = {
    "load": "more CPU cores: images are read and decoded there",
    "network": "more workers: GPUs if there are any, else cores",
    "finish": "more CPU cores: the dense CRF and the masks run there",
    "write": "a bigger unit_size, or a faster disk under OUT",
    "start-up": "nothing: too few images for so many processes",
}


def profile(
    images: int, seconds: float, step_seconds: dict[str, float], actors: int, cpus: float, gpus: float
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
    """The step that all wait for: on GPUs by the use of the network's actors, then by that of the cores."""
    on_cores = {step: value for step, value in steps.items() if step != "network" or not gpus}
    cores = sum(on_cores.values()) / max(cpus * seconds, 1e-9)
    network = steps["network"] / max(actors * seconds, 1e-9)
    if gpus and network >= max(BUSY, cores):
        return "network"
    return max(on_cores, key=lambda step: on_cores[step]) if cores >= BUSY else "start-up"


def advice(found: dict[str, Any]) -> str:
    """`network-bound (81 % of the work): more workers ...`."""
    steps, bound = found["step_seconds"], found["bound"]
    total = sum(steps.values())
    share = f" ({100 * steps[bound] / total:.0f} % of the work)" if bound in steps and total else ""
    return f"bound by {bound}{share}; first: {_FIRST[bound]}"
