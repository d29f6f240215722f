"""What reading a place finds: its images with their tags, and an account of everything else that is there.

    files seen = images + left out

What counts as a file depends on the place: in a folder it is every file below it, in a tar every entry, in a table
every row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

EXAMPLES = 3  # names that are kept for each reason

# Reasons in plain words. A format may have others of its own, such as "not listed in tags.csv".
HIDDEN = "hidden"
NOT_AN_IMAGE = "not an image"
OWN_RUN = "part of a run directory of irnet-ray"
OWN_EXPORT = "part of an export"
MASK = "a mask beside an image"
TAGS_FILE = "holds the tags"
NO_TAGS = "an image without tags"
NOT_A_FILE = "not a plain file"


class Seen(NamedTuple):
    """What reading an image found out."""

    size: tuple[int, int] | None  # width, height in pixels; None if its header cannot be read
    content: str | None  # hash of its bytes, with its depth above 8 bits; None if they cannot be read
    missing: bool = False  # whether there is no such file


class Listed(NamedTuple):
    """An image with its tags as listed. `seen` is set by formats that read its bytes for the listing."""

    image_id: str
    tags: list[str]
    uri: str
    seen: Seen | None = None
    unknown: tuple[str, ...] = ()  # tags of which nobody knows whether the image has them
    source_id: str | None = None  # its id in COCO's JSON, as JSON: 397133 or "a7"


@dataclass
class LeftOut:
    """Files that are no image of a listing: how many for each reason, and the first few of their names."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one file."""
        self.counts[reason] += 1
        if self.counts[reason] <= EXAMPLES:
            self.examples.setdefault(reason, []).append(name)

    def update(self, other: LeftOut) -> None:
        """Count all files of another account."""
        self.counts.update(other.counts)
        for reason, names in other.examples.items():
            known = self.examples.setdefault(reason, [])
            known.extend(names[: EXAMPLES - len(known)])

    @property
    def total(self) -> int:
        """How many files."""
        return self.counts.total()


@dataclass(frozen=True)
class Listing:
    """What a format found in a place: `seen = len(images) + left_out.total`."""

    images: list[Listed]
    seen: int  # files below a folder, entries of tars, or rows of tables
    left_out: LeftOut = field(default_factory=LeftOut)
    notes: list[str] = field(default_factory=list)  # guesses about the data, for the user: "the header names the tags"
    unit: str = "file"  # what is counted
    category_ids: dict[str, Any] = field(default_factory=dict)  # COCO's own number of each class, in its order


def joined(listings: Sequence[Listing], unit: str) -> Listing:
    """One listing of several."""
    left = LeftOut()
    for one in listings:
        left.update(one.left_out)
    images = [image for one in listings for image in one.images]
    notes = list(dict.fromkeys(note for one in listings for note in one.notes))
    return Listing(images, sum(one.seen for one in listings), left, notes, unit)


@dataclass(frozen=True)
class Account:
    """`seen = images + left out`, for the plan, the report and `inspect`."""

    seen: int
    images: int
    left_out: LeftOut
    unit: str = "file"

    def to_json(self) -> dict[str, Any]:
        """For `report.json`."""
        reasons = [
            {"reason": reason, "files": number, "examples": self.left_out.examples[reason]}
            for reason, number in self.left_out.counts.most_common()
        ]
        return {"unit": self.unit, "seen": self.seen, "images": self.images, "left_out": reasons}
