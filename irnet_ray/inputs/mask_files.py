"""Tells mask files from the images that they belong to, by their names."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator

_MASKS = """
annotation annotations groundtruth gt label labelids labels mask masks seg segmentation segmentationclass
segmentationclasspng segmentationobject segmentationobjectpng segmentations trimap trimaps
"""
_IMAGES = "image images img imgs jpegimages photo photos picture pictures rgb"
# Names of folders, in lower case without ' ', '-' and '_'. `images/a.jpg` has its mask in `masks/a.png`.
MASK_FOLDERS, IMAGE_FOLDERS = frozenset(_MASKS.split()), frozenset(_IMAGES.split())

_SUFFIX = re.compile(
    r"(?i)[ ._-](mask|masks|seg|segmentation|gt|groundtruth|ground_truth|label|labels|trimap)([ ._-]?\d+)?$"
)


def masks(paths: Collection[str]) -> set[str]:
    """Those of the image files that are masks of others of them.

    `a_mask.png` is one beside `a.jpg`. So is `masks/a.png` beside `images/a.jpg` or `a.jpg`, at the same depth of
    folders. A folder `masks` without such images beside it may be a class.
    """
    possible = {path: set(_originals(path)) for path in paths}
    known = {key for path, originals in possible.items() if not originals for key in _keys(path)}
    return {path for path, originals in possible.items() if not originals.isdisjoint(known)}


def plain(folder: str) -> str:
    """The name of a folder as it stands in the lists above."""
    return re.sub(r"[ _-]", "", folder).lower()


def _keys(path: str) -> Iterator[str]:
    """The path without its extension, and without each folder that only says that it holds images."""
    stem = posixpath.splitext(path)[0]
    yield stem
    *folders, name = stem.split("/")
    for number, folder in enumerate(folders):
        if plain(folder) in IMAGE_FOLDERS:
            yield "/".join([*folders[:number], *folders[number + 1 :], name])


def _originals(path: str) -> Iterator[str]:
    """The keys of the images that a file would be the mask of."""
    stem = posixpath.splitext(path)[0]
    if _SUFFIX.search(stem):
        yield _SUFFIX.sub("", stem)
    *folders, name = stem.split("/")
    for number, folder in enumerate(folders):
        if plain(folder) in MASK_FOLDERS:
            rest = [*folders[:number], *folders[number + 1 :]]
            yield "/".join([*rest, name])
            yield "/".join([*rest, _SUFFIX.sub("", name)])
