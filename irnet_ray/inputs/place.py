"""What `--data` names: the object from which a format is recognized and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from irnet_ray.errors import UserError
from irnet_ray.inputs import mask_files, sniff
from irnet_ray.inputs.decode import EXTENSIONS
from irnet_ray.inputs.listing import HIDDEN, MASK, NOT_A_FILE, NOT_AN_IMAGE, LeftOut, Listed, Listing
from irnet_ray.inputs.own_output import own_output
from irnet_ray.storage import files


@dataclass(frozen=True)
class Place:
    """An absolute location and what is there. A folder is walked at most once, the first time somebody asks.

    What the user says about it stands beside it, for formats that ask.
    """

    location: str
    images_in: str | None = None  # the folder of the images, if it is named apart
    separator: str | None = None  # of tags in a cell; `none` if each cell is one tag; None to find it out

    @cached_property
    def kind(self) -> Literal["file", "folder"] | None:
        """What is there; None for nothing. Raises UserError where that cannot be known."""
        return files.kind(self.location)

    @cached_property
    def _walked(self) -> files.Walked:
        return files.walk(self.location)

    @cached_property
    def left_out(self) -> dict[str, str]:
        """Paths below the folder that no format looks at, each with the reason."""
        found = self._walked
        return {
            **own_output(found.files),
            **dict.fromkeys(found.hidden, HIDDEN),
            **dict.fromkeys(found.odd, NOT_A_FILE),
        }

    @cached_property
    def files(self) -> list[str]:
        """Paths below the folder of its files, not sorted, without `left_out`. Raises UserError for no such folder."""
        return [path for path in self._walked.files if path not in self.left_out]

    @cached_property
    def _pictures(self) -> list[str]:
        return sniff.images(self.location, self.files)

    @cached_property
    def masks(self) -> set[str]:
        """Those of the files that are masks of images beside them."""
        return mask_files.masks(self._pictures)

    @cached_property
    def images(self) -> list[str]:
        """Those of the files that are images, by their extension or else by their content, and no masks of others."""
        return [path for path in self._pictures if path not in self.masks]

    @cached_property
    def lost_images(self) -> list[str]:
        """Paths below the folder of links that lead nowhere and are images by their names."""
        return list(filter(sniff.is_image_name, self._walked.lost))

    def listing(
        self, images: Mapping[str, Listed], reasons: Mapping[str, str], otherwise: str, notes: Sequence[str] = ()
    ) -> Listing:
        """What a format found in this folder, with an account of all files below it.

        Args:
            images: by their paths below the folder.
            reasons: why other files are left out, by their paths. What no format looks at, masks beside images, and
                what is no image, have their reason already.
            otherwise: the reason for all other images.
            notes: guesses that were made.
        """
        pictures = {*self.images, *self.lost_images}
        # A listed image can be missing here where links lead to its folder by several ways.
        every = {*self.files, *self._walked.lost, *self.left_out, *images}
        left = LeftOut()
        for path in sorted(every.difference(images)):
            known = reasons.get(path) or self.left_out.get(path) or (MASK if path in self.masks else None)
            left.add(known or (otherwise if path in pictures else NOT_AN_IMAGE), path)
        return Listing(list(images.values()), len(every), left, list(notes))

    def named(self, suffix: str) -> list[str]:
        """Those of the files with this extension, sorted."""
        return sorted(name for name in self.files if name.lower().endswith(suffix))


def no_images(location: str) -> UserError:
    """The error for a folder without images."""
    return UserError(f"{location} holds no images ({', '.join(sorted(EXTENSIONS))}): name the folder that does.")
