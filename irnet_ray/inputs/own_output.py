"""Finds what irnet-ray itself wrote below a folder of images: run directories with their models, and exports.

A run directory is often placed inside the data folder. Its pictures are no images to learn from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from irnet_ray.inputs.listing import OWN_EXPORT, OWN_RUN

# What a folder holds directly, by what it is. Names with '/' are folders. A run that was interrupted early has no
# current.json yet.
_SIGNS = (
    (OWN_RUN, frozenset({"stages/", "current.json"})),
    (OWN_RUN, frozenset({"stages/", "config.json"})),
    (OWN_RUN, frozenset({"stages/", "versions/"})),
    (OWN_EXPORT, frozenset({"JPEGImages/", "SegmentationClass/", "SegmentationObject/", "labels.txt"})),
    # YOLO data sets of others have no names.csv.
    (OWN_EXPORT, frozenset({"data.yaml", "images/", "labels/", "names.csv"})),
)
# Where the data folder itself is the run directory, only these are left out.
_OF_A_RUN = ("stages/", "versions/", "models/", "labels/", "errors/", "show.png", "calibrated.yaml")


def own_output(paths: Iterable[str]) -> dict[str, str]:
    """Those of the paths below a folder that belong to irnet-ray's own output, each with the reason to leave it out."""
    paths = list(paths)
    held: dict[str, set[str]] = defaultdict(set)
    for path in paths:
        *folders, name = path.split("/")
        for depth, folder in enumerate(folders):
            held["/".join(folders[:depth])].add(f"{folder}/")
        held["/".join(folders)].add(name)
    found = {folder: why for folder, names in held.items() for why, signs in _SIGNS if signs <= names}
    return {path: why for path in paths if (why := _reason(path, found))}


def _reason(path: str, found: dict[str, str]) -> str | None:
    parts = path.split("/")
    for depth in range(1, len(parts)):
        why = found.get("/".join(parts[:depth]))
        if why:
            return why
    return OWN_RUN if found.get("") == OWN_RUN and path.startswith(_OF_A_RUN) else None
