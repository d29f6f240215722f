"""How well the classifier knows each tag: its average precision (AP) on held-out images."""

from __future__ import annotations

from typing import Any

WEAK_AP = 0.5  # below this, most of the images that the classifier ranks first for a tag do not have it
WEAK_IMAGES = 3  # held-out images of a tag; AP over fewer is chance


def known_tags(measured: dict[str, Any] | None, vocabulary: int) -> dict[str, Any]:
    """Plain values for JSON from what the classifier's training measured.

    Args:
        measured: `held_out`, how many images were held out, and `tags`, by name their `ap` in [0, 1] and their number
            of held-out `images`. None if nothing was measured.
        vocabulary: how many tags there are.

    Returns:
        `held_out`; `mean_ap`, None without a measured tag; `weak`, names of tags, the weakest first; `not_measured`,
        how many tags have no held-out image; and `tags` as measured.
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
