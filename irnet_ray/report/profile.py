"""What bounded a map stage, and the one setting to change first, from its `profile.json` (`engine.profile`)."""

from __future__ import annotations

from typing import Any

_FIRST = {
    "load": "more CPU cores: images are read and decoded there",
    "network": "more workers: GPUs if there are any, else cores",
    "finish": "more CPU cores: the dense CRF and the masks run there",
    "write": "a bigger unit_size, or a faster disk under OUT",
    "start-up": "nothing: too few images for so many processes",
}


def advice(found: dict[str, Any]) -> str:
    """`bound by network (81 % of the work); first: more workers ...`."""
    steps, bound = found["step_seconds"], found["bound"]
    total = sum(steps.values())
    share = f" ({100 * steps[bound] / total:.0f} % of the work)" if bound in steps and total else ""
    return f"bound by {bound}{share}" + (f"; first: {_FIRST[bound]}" if bound in _FIRST else "")
