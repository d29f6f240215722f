"""Statistics of a run's labels, and how they differ from the CAM. Counts are collected row by row and can be merged.

Shape suffixes: H W pixels of an image, h w its cells at stride 4, K its tags.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from PIL import Image

from irnet_ray.algorithms.maps import STRIDE
from irnet_ray.evaluation.evaluate import CAM_THRESHOLD
from irnet_ray.masks import decode_cam, decode_png
from irnet_ray.tables import Row

MOST = 5  # instances per image; the histogram counts images with 0, 1, ..., and with this or more


@dataclass
class Tally:
    """Counts of one class, over the labeled images with its tag, or of all classes, over all labeled images."""

    images: int = 0
    empty: int = 0  # images without an instance
    instances: int = 0
    quality: float = 0.0  # sum over the instances
    area: int = 0  # pixels of the images
    pixels: int = 0  # labeled pixels
    cells: int = 0  # of the images, where CAM and label are compared
    cam: int = 0  # cells of the raw CAM's semantic map
    label: int = 0  # cells of the semantic label
    both: int = 0  # cells of the same class in both
    either: int = 0  # cells of either
    untagged: int = 0  # images without a tag, of which no instance is expected

    def merge(self, other: Tally) -> None:
        """Add the counts of other images."""
        for count in fields(self):
            setattr(self, count.name, getattr(self, count.name) + getattr(other, count.name))

    def to_json(self, every: Tally) -> dict[str, Any]:
        """Counts, and shares in [0, 1]; a share of nothing is None. `every` is the tally over all labeled images."""
        return {
            "images": self.images,
            "images_share": _ratio(self.images, every.images),
            "images_without_instance": self.empty,
            "images_without_instance_share": _ratio(self.empty, self.images),
            "images_without_tag": self.untagged,
            "instances": self.instances,
            "instances_per_image": _ratio(self.instances, self.images),
            "mean_quality": _ratio(self.quality, self.instances),
            "pixels": self.pixels,
            "pixels_share": _ratio(self.pixels, every.area),
            "pixels_share_in_its_images": _ratio(self.pixels, self.area),
            "cam_share_in_its_images": _ratio(self.cam, self.cells),
            "label_share_in_its_images": _ratio(self.label, self.cells),
            "cam_label_iou": _ratio(self.both, self.either),
        }


@dataclass
class Summary:
    """Counts over rows of `tables.LABELS` and `tables.SEEDS`. Those of disjoint images merge in any order."""

    every: Tally = field(default_factory=Tally)
    classes: dict[str, Tally] = field(default_factory=dict)
    histogram: Counter[int] = field(default_factory=Counter)  # images by number of instances, up to MOST

    def add(self, label: Row, seed: Row) -> None:
        """Count one image: its row of `tables.LABELS` and its row of `tables.SEEDS`."""
        tags, instances = label["tags"], label["instances"]
        semantic_HW = decode_png(label["semantic"])
        pixels = np.bincount(semantic_HW.ravel(), minlength=len(tags) + 1).tolist()
        compared = compare(semantic_HW, seed)
        cam, wins, both = (n.tolist() for n in (compared.sum(axis=1), compared.sum(axis=0), compared.diagonal()))
        cells = int(compared.sum())
        qualities: dict[str, list[float]] = {tag: [] for tag in tags}
        for instance in instances:
            qualities[instance["class_name"]].append(instance["quality"])
        for k, tag in enumerate(tags, start=1):
            found = qualities[tag]
            counts = (pixels[k], cells, cam[k], wins[k], both[k], cam[k] + wins[k] - both[k])
            one = Tally(1, int(not found), len(found), sum(found), semantic_HW.size, *counts)
            self.classes.setdefault(tag, Tally()).merge(one)
        quality = sum(instance["quality"] for instance in instances)
        counts = (sum(pixels[1:]), cells, sum(cam[1:]), sum(wins[1:]), sum(both[1:]), cells - both[0])
        one = Tally(1, int(not instances), len(instances), quality, semantic_HW.size, *counts, int(not tags))
        self.every.merge(one)
        self.histogram[min(len(instances), MOST)] += 1

    def merge(self, other: Summary) -> None:
        """Add the counts of other images."""
        self.every.merge(other.every)
        for name, tally in other.classes.items():
            self.classes.setdefault(name, Tally()).merge(tally)
        self.histogram.update(other.histogram)

    def to_json(self, vocabulary: Iterable[str]) -> dict[str, Any]:
        """Plain values for `json.dump`. A class of `vocabulary` that no labeled image has gets zeros."""
        classes = {name: self.classes.get(name, Tally()) for name in vocabulary}
        names = [*map(str, range(MOST)), f"{MOST}+"]
        return {
            "overall": self.every.to_json(self.every),
            "images_by_instances": {name: self.histogram[number] for number, name in enumerate(names)},
            "classes": {name: tally.to_json(self.every) for name, tally in classes.items()},
        }


def compare(semantic_HW: np.ndarray, seed: Row) -> np.ndarray:
    """Count cells by class in the raw CAM (rows) and in the label (columns), int64 (K+1, K+1); 0 is background.

    The two are compared on the grid of the CAM, at stride 4. The CAM is cut at the default threshold of labels (paper
    5.2). Of the label, the pixel in the middle of each cell counts.
    """
    import torch

    from irnet_ray.algorithms.synthesis import cam_semantic

    cam_hw = cam_semantic(torch.from_numpy(decode_cam(seed)), threshold=CAM_THRESHOLD).numpy()
    # The confident map has the size that the image was worked on at. Only the header of its PNG is read.
    width, height = Image.open(io.BytesIO(seed["confident_map"])).size
    label_hw = at_cells(semantic_HW, cam_hw.shape, (height, width))
    count = len(seed["class_ids"]) + 1
    pairs_hw = cam_hw.astype(np.intp) * count + label_hw
    return np.bincount(pairs_hw.ravel(), minlength=count**2).reshape(count, count)


def at_cells(semantic_HW: np.ndarray, grid: tuple[int, ...], working: tuple[int, int]) -> np.ndarray:
    """The label's pixel in the middle of each cell, (h, w) = `grid`.

    `working` is the size (H, W) that the image was worked on at, with 4 pixels per cell. The label may be larger. Where
    the middle of the last cell is outside the image, the nearest pixel counts.
    """
    rows, columns = (
        np.minimum(((np.arange(cells) + 0.5) * STRIDE * full / worked).astype(np.intp), full - 1)
        for cells, full, worked in zip(grid, semantic_HW.shape, working, strict=True)
    )
    return semantic_HW[rows[:, None], columns[None, :]]


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
