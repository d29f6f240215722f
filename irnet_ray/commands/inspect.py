"""Inspect: what is read from a place, and what looks wrong with it, before anything is computed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from irnet_ray.errors import printable
from irnet_ray.inputs import suspicions
from irnet_ray.inputs.classes_file import read_classes
from irnet_ray.inputs.folder import Reading, read
from irnet_ray.inputs.listing import Account
from irnet_ray.inputs.overview import Overview
from irnet_ray.inputs.suspicions import Found
from irnet_ray.networks.imagenet import names_of
from irnet_ray.report.names import named
from irnet_ray.storage.locations import absolute
from irnet_ray.text import count, cut

SHOWN = 5  # tags from the top, and from the bottom
LONGEST = 40  # characters of a tag


@dataclass(frozen=True)
class Inspection:
    """What was read from a place, and what looks wrong with it."""

    data: str  # absolute path or URI
    overview: Overview
    found: list[Found]

    @property
    def reading(self) -> Reading:
        """The images with their account."""
        return self.overview.reading

    @property
    def stops(self) -> list[str]:
        """Names of the suspicions that stop a run."""
        return [one.kind.name for one in self.found if one.kind.severity == "stop"]

    def check(self, accepted: Collection[str]) -> None:
        """Raise UserError for a suspicion that stops a run and is not accepted by its name."""
        suspicions.check(self.found, accepted)

    def lines(self) -> list[str]:
        """For the terminal."""
        about = self.overview.to_json()
        lines = [
            f"data     {printable(self.data)}: read as {about['format']}, because {about['why']}",
            *account_lines(self.reading),
            f"images   {about['images']:,}, {about['unreadable']:,} unreadable{_sizes(about['sizes'])}",
            f"tags     {about['tags']:,}, {_per_image(self.overview)}, "
            f"{count(about['images_without_tags'], 'image')} without tags",
        ]
        ranked = [f"{printable(cut(tag, LONGEST))} {images:,}" for tag, images in self.overview.ranked()]
        if len(ranked) <= 2 * SHOWN:
            lines.append(f"each     {', '.join(ranked) or 'none'}")
        else:
            lines += [f"most     {', '.join(ranked[:SHOWN])}", f"fewest   {', '.join(ranked[-SHOWN:])}"]
        for one in self.found:
            mark = {"stop": "stop    ", "warning": "warning "}[one.kind.severity]
            lines.append(f"{mark} {one.kind.name}: {one.sentence()}")
        return named(lines, names_of(self.overview.images_of))

    def to_json(self) -> dict[str, Any]:
        """For machines: all figures, the account, and all suspicions with their cases."""
        return {
            "data": self.data,
            **self.overview.to_json(),
            "suspicions": [one.to_json() for one in self.found],
            "stops": self.stops,
        }


def inspect(
    data: str | Path,
    *,
    limit: int | None = None,
    images: str | Path | None = None,
    separator: str | None = None,
    classes: str | Path | None = None,
    synonyms: str | Path | None = None,
) -> Inspection:
    """Read images with their tags as `label` does, and look for what is wrong with them. Nothing is written.

    Args:
        data: a folder of images with `tags.csv`, or what else docs/inputs.md lists.
        limit: look at only that many images, evenly drawn.
        images, separator, classes, synonyms: as for `label`.

    Raises:
        UserError: what a person should mend before it can be read.
    """
    return inspected(data, read(data, 1, limit, images, separator, read_classes(classes, synonyms)))


def inspected(data: str | Path, reading: Reading, training: bool = True) -> Inspection:
    """The inspection of what was read already; `training` says whether a classifier is to be trained on it."""
    overview = Overview(reading)
    return Inspection(absolute(data), overview, suspicions.find(overview, training))


def account_lines(reading: Reading) -> list[str]:
    """The account of every file, and the guesses that were made."""
    return [_account(reading.account), *(f"note     {printable(note)}" for note in reading.notes)]


def print_lines(console: Console, lines: list[str]) -> None:
    """Print lines that may hold names of files and tags."""
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)


def _account(account: Account) -> str:
    left = account.left_out
    unit = {"entry": "entries"}.get(account.unit, f"{account.unit}s")
    line = f"account  {account.seen:,} {unit} = {account.images:,} images + {left.total:,} left out"
    reasons = []
    for reason, number in left.counts.most_common():
        shown = ", ".join(printable(cut(name, LONGEST)) for name in left.examples[reason])
        reasons.append(f"{number:,} {reason} ({shown}{', ...' if number > len(left.examples[reason]) else ''})")
    return f"{line}: {'; '.join(reasons)}" if reasons else line


def _sizes(sizes: dict[str, list[int]]) -> str:
    if not sizes:
        return ""
    shown = {name: f"{width} x {height}" for name, (width, height) in sizes.items()}
    if shown["smallest"] == shown["largest"]:
        return f", all {shown['smallest']} pixels"
    return f", {shown['smallest']} to {shown['largest']} pixels, median {shown['median']}"


def _per_image(overview: Overview) -> str:
    numbers = overview.per_image
    mean = sum(number * images for number, images in numbers.items()) / max(overview.images, 1)
    return f"{mean:.1f} per image ({min(numbers, default=0)} to {max(numbers, default=0)})"
