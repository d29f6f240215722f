"""What bounded the speed of a map stage, and which setting to change first, from its `profile.json`."""

from __future__ import annotations

from typing import Any

_FIRST = {
    "load": "first: more CPU cores, which read and decode images",
    "network": "first: more workers, that is GPUs if there are any, else cores",
    "finish": "first: more CPU cores, which run the dense CRF and make masks",
    "write": "first: a larger unit_size, or a faster disk under OUT",
    "start-up": "too few images to matter",
}


def advice(found: dict[str, Any]) -> str:
    """`bound by network (81 % of the work); first: more workers ...`, from the content of a `profile.json`."""
    steps, bound = found["step_seconds"], found["bound"]
    total = sum(steps.values())
    share = f" ({100 * steps[bound] / total:.0f} % of the work)" if bound in steps and total else ""
    return f"bound by {bound}{share}" + (f"; {_FIRST[bound]}" if bound in _FIRST else "")
