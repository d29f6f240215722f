"""How well the classifier knows each tag: its average precision (AP) on held-out images."""

from __future__ import annotations

from typing import Any

WEAK_AP = 0.5  # under this, most of the images that the classifier ranks first for a tag are not of it
WEAK_IMAGES = 3  # held-out images of a tag; the AP over fewer is chance


def known_tags(measured: dict[str, Any] | None, vocabulary: int) -> dict[str, Any]:
    """Plain values for JSON from what the classifier's training measured, None where it measured nothing.

    Args:
        measured: `held_out`, a number of images, and `tags`: by name their `ap` in [0, 1] and held-out `images`.
        vocabulary: how many tags there are.

    Returns:
        `held_out`, `mean_ap` (null without a measured tag), `weak` (names, the weakest first), `not_measured`
        (how many tags have no held-out image) and `tags` as measured.
    """
    measured = measured or {}
    tags = measured.get("tags", {})
    weak = [name for name, tag in tags.items() if tag["ap"] < WEAK_AP and tag["images"] >= WEAK_IMAGES]
    return {
        "held_out": measured.get("held_out", 0),
        "mean_ap": sum(tag["ap"] for tag in tags.values()) / len(tags) if tags else None,
        "weak": sorted(weak, key=lambda name: (tags[name]["ap"], name)),
        "not_measured": vocabulary - len(tags),
        "tags": tags,
    }
