"""What a plan says of images that have more than 8 bits, or several pages: how many, and how they are scaled.

How many have more than 8 bits is known of all images. Their ranges are looked up in a few of them, spread evenly over
the data set, because that takes decoding.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.inputs import parallel
from irnet_ray.inputs.decode import ImageError, describe_pixels, look_at
from irnet_ray.inputs.images_table import depths
from irnet_ray.inputs.pixels import Range, Window
from irnet_ray.inputs.samples import DEPTHS
from irnet_ray.text import count

LOOKED_AT = 32  # images that are decoded for the plan
SEVERAL = (".tif", ".tiff", ".gif")  # names of images that may have several pages or frames


@dataclass(frozen=True)
class Depths:
    """The deep images of a data set, and what a look at some of them found."""

    images: dict[str, int]  # by a key of `DEPTHS`; empty where all images have 8 bits
    ranges: dict[str, int]  # by the name of a `Range`: so many of those looked at
    ends: Window | None  # the smallest and the largest sample of those looked at
    outside: int  # of those looked at, how many have all their samples outside of the window
    window: Window | None
    several: int  # how many of the TIFFs and GIFs looked at have several pages or frames

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {"images": self.images, "looked_at": self.ranges, "ends": self.ends, "window": self.window}

    def check(self) -> None:
        """Raise UserError if a window leaves nothing to be seen."""
        looked_at = sum(self.ranges.values())
        if self.window is not None and self.ends is not None and self.outside == looked_at:
            raise UserError(
                f"The window {_span(self.window)} shows nothing: the samples of {count(looked_at, 'image')} looked at "
                f"lie in {_span(self.ends)}. Give a --window LOW HIGH that holds them, or none."
            )

    def lines(self) -> list[str]:
        """The lines of a plan; none where all images have 8 bits and one page."""
        found = []
        if self.images:
            found.append(f"{self._counted()}, {self._scaled()}")
        elif self.window is not None:
            found.append(f"the window {_span(self.window)} changes nothing: no image has more than 8 bits")
        if self.several:
            found.append(f"{count(self.several, 'image')} with several pages or frames: the first is taken of each")
        return found

    def _counted(self) -> str:
        first, *others = self.images.items()
        return ", ".join(
            [f"{count(first[1], 'image')} of {DEPTHS[first[0]]}", *(f"{n} of {DEPTHS[d]}" for d, n in others)]
        )

    def _scaled(self) -> str:
        looked_at, total = sum(self.ranges.values()), sum(self.images.values())
        some = "" if looked_at == total else f" ({looked_at} of them looked at)"
        if self.window is not None:
            note = f"; {self.outside} of {looked_at} looked at lie outside of it" if self.outside else ""
            return f"scaled by the window {_span(self.window)}{note}"
        if not self.ranges:
            return "scaled each by the range of its samples"
        if len(self.ranges) == 1 and "own" not in self.ranges:
            return f"scaled by their {next(iter(self.ranges))} range{some}"
        each = ", ".join(f"{n} by {_named(name)}" for name, n in self.ranges.items())
        lie = f", and they lie in {_span(self.ends)}" if self.ends else ""
        return f"scaled each by the range of its samples: {each}{some}{lie}; --window LOW HIGH scales all of them alike"


def look(images: pa.Table, window: Window | None) -> Depths:
    """Look at the pixels of some rows of `tables.IMAGES`; `window` is the config's."""
    deep = depths(images)
    ranges: Counter[str] = Counter()
    lows, highs, outside = [], [], 0
    if deep:
        rows = images.filter(pc.fill_null(pc.match_substring(images["content"], "/"), False))
        for seen in parallel.each(lambda uri: _look_at(uri, window), _drawn(rows), chunk=4):
            if seen is not None:
                used, (low, high) = seen
                ranges[used.name] += 1
                lows.append(low)
                highs.append(high)
                outside += high < used.low or low > used.high
    paged = [uri for uri in images["uri"].to_pylist() if os.path.splitext(uri)[1].lower() in SEVERAL]
    headers = map(describe_pixels, _drawn(images.filter(pc.is_in(images["uri"], pa.array(paged, pa.string())))))
    several = sum(header is not None and header.several for header in headers)
    ends = (min(lows), max(highs)) if lows else None
    return Depths(deep, dict(ranges.most_common()), ends, outside, window, several)


def _drawn(rows: pa.Table) -> list[str]:
    """The uris of a few rows: always the same, and spread evenly."""
    drawn = sorted(zip(rows["image_id"].to_pylist(), rows["uri"].to_pylist(), strict=True), key=_place)
    return [uri for _, uri in drawn[:LOOKED_AT]]


def _place(row: tuple[str, str]) -> float:
    return tables.fraction(row[0], "pixels")


def _look_at(uri: str, window: Window | None) -> tuple[Range, Window] | None:
    try:
        return look_at(uri, window)
    except ImageError:  # the stages record its error
        return None


def _named(name: str) -> str:
    return "its own" if name == "own" else f"the {name} range"


def _span(window: Window) -> str:
    return " to ".join(f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}" for value in window)
