"""Training, validation and test images, chosen by a hash of the id, so that no image ever changes its split."""

from __future__ import annotations

from collections.abc import Mapping

from irnet_ray import tables
from irnet_ray.errors import UserError

# Shares are cut from the hash in this order, so that the same share of val holds the same images with or without test.
ORDER = ("val", "test", "train")
DEFAULT = {"train": 0.9, "val": 0.1}


def parse(text: str) -> dict[str, float]:
    """Shares by split of a text such as `train=0.8,val=0.1,test=0.1`, in this order.

    Raises:
        UserError: another text, an unknown split, one that is named twice, or shares that do not sum to 1.
    """
    wrong = f"--split must be like train=0.8,val=0.1,test=0.1, got {text!r}"
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, found, share = (word.strip() for word in part.partition("="))
        if not found:
            raise UserError(f"{wrong}: {part.strip()!r} has no share.")
        if name not in ORDER:
            raise UserError(f"{wrong}: the splits are train, val and test, not {name!r}.")
        if name in shares:
            raise UserError(f"{wrong}: {name} is named twice.")
        try:
            shares[name] = float(share)
        except ValueError:
            raise UserError(f"{wrong}: {share!r} is not a number.") from None
        if not 0 < shares[name] <= 1:
            raise UserError(f"{wrong}: the share of {name} must be above 0 and at most 1.")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UserError(f"{wrong}: the shares sum to {sum(shares.values()):g}, not to 1.")
    return {name: shares[name] for name in ("train", "val", "test") if name in shares}


def split_of(image_id: str, shares: Mapping[str, float]) -> str:
    """The split of an image, by a hash of its id alone: other images, and their number, do not matter."""
    named = [name for name in ORDER if name in shares]
    place, end = tables.fraction(image_id, "validation"), 0.0
    for name in named[:-1]:
        end += shares[name]
        if place < end:
            return name
    return named[-1]
