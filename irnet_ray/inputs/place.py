"""What `--data` names: the object from which a format is recognized and read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from irnet_ray.errors import UserError
from irnet_ray.inputs.decode import EXTENSIONS
from irnet_ray.inputs.listing import HIDDEN, NOT_A_FILE, NOT_AN_IMAGE, LeftOut, Listed, Listing
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
    def _walked(self) -> files.Walked:
        return files.walk(self.location)

    @property
    def files(self) -> list[str]:
        """Paths below the folder of its files, not sorted, without `left_out`. Raises UserError for no such folder."""
        return self._walked.files

    @cached_property
    def left_out(self) -> dict[str, str]:
        """Paths below the folder that no format looks at, each with the reason."""
        return {
            **dict.fromkeys(self._walked.hidden, HIDDEN),
            **dict.fromkeys(self._walked.odd, NOT_A_FILE),
        }

    @cached_property
    def images(self) -> list[str]:
        """Those of the files that are images by their names."""
        return list(filter(is_image, self.files))

    @cached_property
    def lost_images(self) -> list[str]:
        """Paths below the folder of links that lead nowhere and are images by their names."""
        return list(filter(is_image, self._walked.lost))

    def listing(
        self, images: Mapping[str, Listed], reasons: Mapping[str, str], otherwise: str, notes: Sequence[str] = ()
    ) -> Listing:
        """What a format found in this folder, with an account of all files below it.

        Args:
            images: by their paths below the folder.
            reasons: why other files are left out, by their paths. What no format looks at, and what is no image, has
                its reason already.
            otherwise: the reason for all other images.
            notes: guesses that were made.
        """
        pictures = {*self.images, *self.lost_images}
        # A listed image can be missing here where links lead to its folder by several ways.
        every = {*self.files, *self._walked.lost, *self.left_out, *images}
        left = LeftOut()
        for path in sorted(every.difference(images)):
            known = reasons.get(path) or self.left_out.get(path)
            left.add(known or (otherwise if path in pictures else NOT_AN_IMAGE), path)
        return Listing(list(images.values()), len(every), left, list(notes))

    def named(self, suffix: str) -> list[str]:
        """Those of the files with this extension, sorted."""
        return sorted(name for name in self.files if name.lower().endswith(suffix))


def is_image(name: str) -> bool:
    """Whether a file is an image by its name."""
    return os.path.splitext(name)[1].lower() in EXTENSIONS


def no_images(location: str) -> UserError:
    """The error for a folder without images."""
    return UserError(f"{location} holds no images ({', '.join(sorted(EXTENSIONS))}): name the folder that does.")
