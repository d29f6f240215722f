"""What a reading holds, in figures: tags, images of each tag, tags of each image, sizes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow.compute as pc

from irnet_ray.inputs.folder import Reading


@dataclass(frozen=True)
class Overview:
    """Figures of the images that a reading found."""

    reading: Reading

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the images, sorted."""
        found: list[str] = self.reading.table["image_id"].to_pylist()
        return found

    @cached_property
    def tags_of(self) -> list[list[str]]:
        """Tags of each image."""
        found: list[list[str]] = self.reading.table["tags"].to_pylist()
        return found

    @property
    def images(self) -> int:
        """How many images."""
        return len(self.ids)

    @cached_property
    def images_of(self) -> Counter[str]:
        """How many images have each tag."""
        return Counter(tag for tags in self.tags_of for tag in tags)

    @cached_property
    def unknown_of(self) -> Counter[str]:
        """In how many images nobody knows whether the tag is there."""
        return Counter(tag for tags in self.reading.table["tags_unknown"].to_pylist() for tag in tags or ())

    @cached_property
    def without_tags(self) -> int:
        """Images of nothing."""
        return sum(not tags for tags in self.tags_of)

    @cached_property
    def per_image(self) -> Counter[int]:
        """How many images have so many tags."""
        return Counter(len(tags) for tags in self.tags_of)

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) in pixels of each image that can be read."""
        found = self.reading.table.filter(pc.is_valid(self.reading.table["width"]))
        return list(zip(found["width"].to_pylist(), found["height"].to_pylist(), strict=True))

    def ranked(self) -> list[tuple[str, int]]:
        """Tags with how many images have them, from the most to the fewest."""
        return sorted(self.images_of.items(), key=lambda item: (-item[1], item[0]))

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        by_area = sorted(self.sizes, key=lambda size: size[0] * size[1])
        sizes = (
            {"smallest": by_area[0], "median": by_area[(len(by_area) - 1) // 2], "largest": by_area[-1]}
            if by_area
            else {}
        )
        return {
            "format": self.reading.format,
            "why": self.reading.why,
            "notes": self.reading.notes,
            "account": self.reading.account.to_json(),
            "images": self.images,
            "unreadable": self.images - len(self.sizes),
            "sizes": {name: list(size) for name, size in sizes.items()},  # width, height by area
            "tags": len(self.images_of),
            "images_without_tags": self.without_tags,
            "tags_per_image": {str(number): images for number, images in sorted(self.per_image.items())},
            "images_per_tag": dict(self.ranked()),
        }
