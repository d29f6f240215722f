"""What `--data` names: the object from which a format is recognized and read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from irnet_ray.errors import UserError
from irnet_ray.inputs.decode import EXTENSIONS
from irnet_ray.storage import files


@dataclass(frozen=True)
class Place:
    """An absolute location and what is there. A folder is walked at most once, the first time somebody asks."""

    location: str

    @cached_property
    def kind(self) -> Literal["file", "folder"] | None:
        """What is there; None for nothing. Raises UserError where that cannot be known."""
        return files.kind(self.location)

    @cached_property
    def _walked(self) -> tuple[list[str], list[str]]:
        lost: list[str] = []
        return list(files.walk(self.location, lost)), lost

    @property
    def files(self) -> list[str]:
        """Paths below the folder of all its files, not sorted. Raises UserError where it cannot be listed."""
        return self._walked[0]

    @cached_property
    def images(self) -> list[str]:
        """Those of the files that are images by their names."""
        return list(filter(is_image, self.files))

    @cached_property
    def lost_images(self) -> list[str]:
        """Paths below the folder of links that lead nowhere and are images by their names."""
        return list(filter(is_image, self._walked[1]))

    def named(self, suffix: str) -> list[str]:
        """Those of the files with this extension, sorted."""
        return sorted(name for name in self.files if name.lower().endswith(suffix))


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def no_images(location: str) -> UserError:
    """The error for a folder without images."""
    return UserError(f"{location} holds no images ({', '.join(sorted(EXTENSIONS))}): name the folder that does.")
