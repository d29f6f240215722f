"""Truth in COCO's instance format. It is used for measuring, never for training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from irnet_ray.errors import UserError, reason
from irnet_ray.evaluation.average_precision import Rle, TruthInstance
from irnet_ray.masks import MAX_PIXELS, fits

UNKNOWN = -1  # in a semantic map of truth: a pixel of a crowd, which does not count


@dataclass
class TruthImage:
    """Size in pixels and instances of one image."""

    height: int
    width: int
    instances: list[TruthInstance] = field(default_factory=list)


@dataclass
class Truth:
    """All images of a truth file."""

    images: dict[str, TruthImage]  # by file name


def load_truth(path: Path) -> Truth:
    """Read a COCO instances file, with RLE (compressed or not) or polygons. Raises UserError if it cannot be truth."""
    try:
        data = json.loads(Path(path).read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: name a COCO instances file.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; name a COCO instances file.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): name a COCO instances file.") from error
    lists = ("images", "annotations", "categories")
    if not isinstance(data, dict) or not all(isinstance(data.get(name), list) for name in lists):
        raise UserError(f"{path} must hold the lists {', '.join(lists)}: name a COCO instances file.")
    try:
        return _read(data)
    except _TruthError as error:
        raise UserError(f"{path} cannot serve as truth: {error}.") from error


class _TruthError(Exception):
    """What is wrong in a truth file. `load_truth` adds the name of the file."""


def _read(data: dict[str, Any]) -> Truth:
    names: dict[Any, str] = {}
    for entry in data["categories"]:
        names[_get(entry, "id", int, "category")] = _get(entry, "name", str, "category")
    if len(set(names.values())) < len(data["categories"]):
        raise _TruthError("two categories share an id or a name")
    images: dict[str, TruthImage] = {}
    files: dict[Any, str] = {}
    for entry in data["images"]:
        file_name = _get(entry, "file_name", str, "image")
        height, width, number = (_get(entry, key, int, f"image {file_name}") for key in ("height", "width", "id"))
        if height < 1 or width < 1 or height * width > MAX_PIXELS:
            raise _TruthError(f"image {file_name} has {width} x {height} pixels")
        if file_name in images or number in files:
            raise _TruthError(f"image {file_name} shares its id or file name with another")
        files[number] = file_name
        images[file_name] = TruthImage(height, width)
    if not images:
        raise _TruthError("it lists no images")
    for number, entry in enumerate(data["annotations"]):
        what = f"annotation {entry.get('id', number) if isinstance(entry, dict) else number}"
        image_id, category = (_get(entry, key, int, what) for key in ("image_id", "category_id"))
        if image_id not in files or category not in names:
            raise _TruthError(f"{what} names image {image_id} and category {category}, one of which is not listed")
        name = files[image_id]
        rle = _rle(entry.get("segmentation"), images[name], what)
        crowd = bool(entry.get("iscrowd", 0))
        images[name].instances.append(TruthInstance(name, names[category], rle, crowd))
    return Truth(images)


def _get(entry: Any, key: str, kind: type, what: str) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        raise _TruthError(f"{what} has no {key} that is {'text' if kind is str else 'a whole number'}")
    return value


def _rle(segmentation: Any, image: TruthImage, what: str) -> Rle:
    """Convert any COCO segmentation to compressed RLE."""
    from pycocotools import mask as coco

    if isinstance(segmentation, dict):
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if size != [image.height, image.width]:
            raise _TruthError(f"{what} has size {size}, and its image [{image.height}, {image.width}]")
        if isinstance(counts, str) and fits(counts, image.height, image.width):
            return {"size": [image.height, image.width], "counts": counts.encode("ascii")}
        runs = counts if isinstance(counts, list) and all(isinstance(run, int) and run >= 0 for run in counts) else []
        if sum(runs) == image.height * image.width:
            return _compress(
                coco.frPyObjects({"size": [image.height, image.width], "counts": counts}, image.height, image.width)
            )
    if isinstance(segmentation, list) and segmentation and all(_is_polygon(p, image) for p in segmentation):
        return _compress(coco.merge(coco.frPyObjects(segmentation, image.height, image.width)))
    raise _TruthError(f"{what} has no segmentation that is RLE of its image's size or polygons")


def _is_polygon(polygon: Any, image: TruthImage) -> bool:
    """Whether this is x, y of at least three corners, none of them far outside the image."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    far = 2 * max(image.height, image.width)  # pycocotools allocates memory in proportion to a polygon's length
    return all(isinstance(value, int | float) and -far <= value <= far for value in polygon)


def _compress(rle: Any) -> Rle:
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"]}


def semantic_map(instances: Sequence[TruthInstance], numbers: dict[str, int], size: tuple[int, int]) -> np.ndarray:
    """Int32 (H, W): 0 background, else the number of the class. Smaller instances cover larger ones.

    Pixels of a crowd that no instance covers are `UNKNOWN`. Raises UserError for RLE that cannot be decoded.
    """
    from pycocotools import mask as coco

    numbered = np.zeros(size, np.int32)
    for instance in sorted(instances, key=lambda i: (not i.crowd, -int(coco.area(i.rle)))):
        try:
            mask = coco.decode(instance.rle).astype(bool)
        except ValueError as error:
            raise UserError(f"The truth of {instance.image_id} has a mask that is not RLE: {error}.") from error
        numbered[mask] = UNKNOWN if instance.crowd else numbers[instance.class_name]
    return numbered
