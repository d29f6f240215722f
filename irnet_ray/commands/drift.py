"""How labels changed from one version to the next: counts by class, IoU of recomputed labels, images to look at first.

Shape suffixes: H W pixels of an image.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from heapq import nsmallest

import numpy as np
import pyarrow.compute as pc

from irnet_ray.engine.session import raised
from irnet_ray.errors import UserError
from irnet_ray.masks import coco_rle, decode_png
from irnet_ray.runs.shards import Shards
from irnet_ray.tables import Row
from irnet_ray.text import cut, one_line

LOOK = 50  # most images that are named
BATCH = 256  # labels in memory at a time
CLASSES_SHOWN, IMAGES_SHOWN = 6, 5
WIDTH = 100  # most characters of a line


def measure(old: Shards, new: Shards, reused: dict[int, dict[str, str]]) -> Row:
    """The drift between two sealed results of `tables.LABELS`, sharded alike. Runs in Ray tasks if Ray is running.

    Args:
        old, new: the labels before and after.
        reused: by shard, the images whose rows were reused: they are counted but not compared.

    Returns:
        The content of `drift.json` without the versions and the changes of the folder.

    Raises:
        UserError: a row, a mask or a class map is damaged.
    """
    arguments = [(old, new, shard, frozenset(reused.get(shard, ()))) for shard in range(new.count)]
    if "ray" in sys.modules and (ray := sys.modules["ray"]).is_initialized():
        task = ray.remote(shard_drift).options(max_retries=3)
        try:
            return _merged(ray.get([task.remote(*each) for each in arguments]))
        except ray.exceptions.RayError as error:
            raise raised("drift", error) from error
    return _merged(shard_drift(*each) for each in arguments)


def shard_drift(old: Shards, new: Shards, shard: int, reused: frozenset[str]) -> Row:
    """The drift of one shard: counts to be summed over shards, and its images to look at first."""
    before, after = (_classes(labels, shard) for labels in (old, new))
    known, ids = (
        set(labels.rows.read_table(labels.part(shard), ["image_id"])["image_id"].to_pylist()) for labels in (old, new)
    )
    failed, now_failed = (
        {row["image_id"]: row for row in labels.errors.read_table(labels.part(shard)).to_pylist()}
        for labels in (old, new)
    )
    compared = _compare(old, new, shard, sorted((known & ids) - reused))
    new_errors = [
        {"image_id": image_id, "why": f"error: {row['kind']}"}
        for image_id, row in sorted(now_failed.items())
        if image_id not in failed
    ]
    return {
        "labels": [len(known), len(ids)],
        "errors": [len(failed), len(now_failed)],
        "new_errors": len(new_errors),
        "classes": [before, after],
        **compared,
        "look_first": [new_errors[:LOOK], *compared["look_first"]],
    }


def _classes(labels: Shards, shard: int) -> dict[str, Counter[str]]:
    """For each class, the number of labeled images with its tag, and of its instances."""
    table = labels.rows.read_table(labels.part(shard), ["tags", "instances"])
    found = {"images": table["tags"], "instances": table["instances"]}
    names = {"images": pc.list_flatten(found["images"])}
    names["instances"] = pc.struct_field(pc.list_flatten(found["instances"]), "class_name")
    counts = {key: pc.value_counts(column).to_pylist() for key, column in names.items()}
    return {key: Counter({one["values"]: one["counts"] for one in counted}) for key, counted in counts.items()}


def _compare(old: Shards, new: Shards, shard: int, ids: list[str]) -> Row:
    """IoU of the labels of these images before and after."""
    columns = ["image_id", "tags", "width", "height", "instances", "semantic"]
    sums: Counter[str] = Counter(compared=0, identical=0, other_size=0, lost_all=0)
    means = {"semantic_iou": 0.0, "instance_iou": 0.0}
    lost: list[Row] = []
    differing: list[Row] = []
    for start in range(0, len(ids), BATCH):
        some = ids[start : start + BATCH]
        pairs = zip(*(t.rows.read_table(t.part(shard), columns, some).to_pylist() for t in (old, new)), strict=True)
        for before, after in pairs:
            if (before["width"], before["height"]) != (after["width"], after["height"]):
                sums["other_size"] += 1
                continue
            figures = {"semantic_iou": semantic_iou(before, after), "instance_iou": instance_iou(before, after)}
            sums["compared"] += 1
            sums["identical"] += before == after
            means = {key: total + figures[key] for key, total in means.items()}
            counts = [len(row["instances"]) for row in (before, after)]
            entry = {"image_id": after["image_id"], **figures, "instances": counts}
            if counts[0] and not counts[1]:
                sums["lost_all"] += 1
                lost.append({**entry, "why": "lost all instances"})
            elif before != after:
                differing.append({**entry, "why": "labels differ"})
        differing = nsmallest(LOOK, differing, _how_like)
    return {"sums": sums, "means": means, "look_first": [nsmallest(LOOK, lost, _how_like), differing]}


def _how_like(entry: Row) -> tuple[float, str]:
    return min(entry["semantic_iou"], entry["instance_iou"]), entry["image_id"]


def semantic_iou(one: Row, other: Row) -> float:
    """Mean IoU of two semantic labels of an image, over the classes that either holds; 1 if neither holds any.

    Classes are compared by name, not by their number in the image, because the image may have been retagged.
    """
    number_of = {name: number for number, name in enumerate(sorted({*one["tags"], *other["tags"]}), start=1)}
    maps = []
    for row in (one, other):
        numbers = np.array([0, *(number_of[name] for name in row["tags"])])
        found = decode_png(row["semantic"])
        if found.shape != (row["height"], row["width"]) or found.max(initial=0) >= len(numbers):
            raise UserError(f"The semantic label of {row['image_id']} is damaged: run `irnet-ray label` again.")
        maps.append(numbers[found])
    classes = len(number_of) + 1
    pixels = np.bincount((maps[0] * classes + maps[1]).ravel(), minlength=classes**2).reshape(classes, classes)
    both = pixels.diagonal()[1:]
    either = (pixels.sum(axis=0) + pixels.sum(axis=1) - pixels.diagonal())[1:]
    there = either > 0
    return float((both[there] / either[there]).mean()) if there.any() else 1.0


def instance_iou(one: Row, other: Row) -> float:
    """Mean IoU of an image's instances before and after, under the best one-to-one matching within each class.

    An instance without a partner counts as 0. The result is 1 if there are no instances before and after.

    Raises:
        UserError: the RLE of a mask is malformed, or does not have the image's size.
    """
    from pycocotools import mask as coco
    from scipy.optimize import linear_sum_assignment

    sides = [row["instances"] for row in (one, other)]
    if not any(sides):
        return 1.0
    if not all(sides):
        return 0.0
    rles = [[coco_rle(i, (row["height"], row["width"])) for i in row["instances"]] for row in (one, other)]
    iou = np.asarray(coco.iou(rles[0], rles[1], [0] * len(rles[1])), float)
    alike = np.array([[a["class_name"] == b["class_name"] for b in sides[1]] for a in sides[0]])
    iou = np.where(alike, iou, 0.0)
    pairs = linear_sum_assignment(iou, maximize=True)
    return float(iou[pairs].sum() / max(map(len, sides)))


def _merged(parts: Iterable[Row]) -> Row:
    labels, errors = np.zeros(2, int), np.zeros(2, int)
    classes: tuple[dict[str, Counter[str]], ...] = tuple(
        {"images": Counter[str](), "instances": Counter[str]()} for _ in range(2)
    )
    sums, means, new_errors = Counter[str](), Counter[str](), 0
    look: list[list[Row]] = [[], [], []]
    for part in parts:
        labels, errors, new_errors = labels + part["labels"], errors + part["errors"], new_errors + part["new_errors"]
        for side, found in zip(classes, part["classes"], strict=True):
            for key, counter in found.items():
                side[key].update(counter)
        sums.update(part["sums"])
        means.update(part["means"])
        look = [mine + theirs for mine, theirs in zip(look, part["look_first"], strict=True)]
    ranked = sorted(look[0], key=lambda entry: entry["image_id"])
    ranked += [entry for some in look[1:] for entry in sorted(some, key=_how_like)]
    compared = sums["compared"]
    names = sorted({name for side in classes for counter in side.values() for name in counter})
    return {
        "labels": _pair(labels),
        "errors": {**_pair(errors), "new": new_errors},
        "instances": _pair([sum(side["instances"].values()) for side in classes]),
        "classes": {name: {key: _pair([s[key][name] for s in classes]) for key in classes[0]} for name in names},
        "made_anew": {
            **{key: sums[key] for key in ("compared", "identical", "other_size", "lost_all")},
            **{f"mean_{key}": means[key] / compared if compared else None for key in ("semantic_iou", "instance_iou")},
        },
        "look_first": ranked[:LOOK],
    }


def _pair(values: Iterable[int]) -> dict[str, int]:
    before, after = map(int, values)
    return {"before": before, "after": after}


def drift_lines(drift: Row) -> list[str]:
    """The content of drift.json in at most 3 + CLASSES_SHOWN + IMAGES_SHOWN lines."""
    labels, errors, instances = (_arrow(drift[key]) for key in ("labels", "errors", "instances"))
    lines = [f"drift from {drift['from']} to {drift['to']}: labels {labels}, errors {errors}, instances {instances}"]
    anew = drift["made_anew"]
    if anew["compared"]:
        lines.append(
            f"labels recomputed: {anew['compared']}, {anew['identical']} of them unchanged; mean IoU with the old "
            f"{anew['mean_semantic_iou']:.2f}, of instances {anew['mean_instance_iou']:.2f}"
        )
    moved = {name: one for name, one in drift["classes"].items() if any(_change(one[key]) for key in one)}
    ranked = sorted(moved, key=lambda name: (-max(_change(one) for one in moved[name].values()), name))
    for name in ranked[:CLASSES_SHOWN]:
        one = moved[name]
        lines.append(f"  {one_line(name)}: images {_arrow(one['images'])}, instances {_arrow(one['instances'])}")
    if ranked[CLASSES_SHOWN:]:
        lines.append(f"  and {len(ranked) - CLASSES_SHOWN} more classes")
    for entry in drift["look_first"][:IMAGES_SHOWN]:
        figures = f", IoU {min(entry['semantic_iou'], entry['instance_iou']):.2f}" if "instances" in entry else ""
        lines.append(f"  look at {one_line(entry['image_id'])}: {entry['why']}{figures}")
    return [cut(line, WIDTH) for line in lines]


def _change(one: dict[str, int]) -> float:
    """How much a count changed: the difference as a share of the larger value."""
    return abs(one["after"] - one["before"]) / max(one["before"], one["after"], 1)


def _arrow(one: dict[str, int]) -> str:
    return f"{one['before']:,} to {one['after']:,}" if one["before"] != one["after"] else f"{one['after']:,}"
