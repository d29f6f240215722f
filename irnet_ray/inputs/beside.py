"""Pairs images with files that say something about them, by their names.

images/train/a.jpg and labels/train/a.txt      train/images/a.jpg and train/labels/a.txt
images/a.jpg and annotations/xmls/a.xml        a.jpg and a.xml side by side
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from irnet_ray.errors import UserError
from irnet_ray.inputs.mask_files import IMAGE_FOLDERS, plain
from irnet_ray.text import count, names

# Names of folders that hold what belongs to images, as in `mask_files.MASK_FOLDERS`.
_LABELS = "annotation annotations ann anns label labels xml xmls bbox bboxes boxes txt voc yolo"
LABEL_FOLDERS = frozenset(_LABELS.split())


def pair(images: Collection[str], files: Iterable[str]) -> dict[str, str]:
    """The file of each image that has one; paths have '/' between their parts.

    Where folders differ otherwise, a name that only one image and one file have pairs them.
    """
    by_key: dict[str, list[str]] = defaultdict(list)
    for path in files:
        by_key[_key(path)].append(path)
    found = {image: by_key[key][0] for image in images if len(by_key.get(key := _key(image), ())) == 1}
    left = {path for paths in by_key.values() for path in paths}.difference(found.values())
    single_files, single_images = _by_stem(left), _by_stem(image for image in images if image not in found)
    for stem, image in single_images.items():
        if stem in single_files:
            found[image] = single_files[stem]
    return found


def one_each(location: str, pairs: Mapping[str, str]) -> None:
    """Raise UserError for a file that belongs to two images."""
    seen: dict[str, str] = {}
    for image, path in pairs.items():
        other = seen.setdefault(path, image)
        if other != image:
            raise UserError(f"{location} holds two images of {path} ({other}, {image}): keep one of them.")


def refuse_unpaired(location: str, unpaired: Sequence[str]) -> None:
    """Raise UserError for files that belong to no image."""
    if unpaired:
        raise UserError(
            f"{location} holds no images for {count(len(unpaired), 'file')} with their tags "
            f"({names(sorted(unpaired))}): add the images, or take the files away."
        )


def untagged_folders(images: Iterable[str], pairs: Mapping[str, str]) -> set[str]:
    """Folders in which no image has a file: their images were not annotated."""
    folders: dict[str, bool] = {}
    for image in images:
        folder = posixpath.dirname(image)
        folders[folder] = folders.get(folder, False) or image in pairs
    return {folder for folder, some in folders.items() if not some}


def _key(path: str) -> str:
    *folders, name = posixpath.splitext(path)[0].split("/")
    kept = [folder for folder in folders if plain(folder) not in LABEL_FOLDERS | IMAGE_FOLDERS]
    return "/".join([*kept, name])


def _by_stem(paths: Iterable[str]) -> dict[str, str]:
    """Paths by their names without extension, those that are the only one with their name."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        found[posixpath.splitext(posixpath.basename(path))[0]].append(path)
    return {stem: same[0] for stem, same in found.items() if len(same) == 1}
