"""Labels, and beside them raw CAMs, against truth: AP of instance masks and mIoU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.evaluation.average_precision import AveragePrecision, Prediction
from irnet_ray.evaluation.mean_iou import IntersectionOverUnion
from irnet_ray.evaluation.result import Evaluation, Scores
from irnet_ray.evaluation.truth import Truth, TruthImage, semantic_map

CAM_THRESHOLD = 0.25  # of the normalized CAM, as for labels (paper 5.2)
CAM_MIN_AREA = 0.01  # of the image, as for labels
STRIDE = 4  # pixels of the image per cell of a CAM


class Found(NamedTuple):
    """What was predicted in one image; `semantic` is uint8 (H, W): 0 background, k is `tags[k - 1]`."""

    image_id: str
    tags: Sequence[str]
    instances: list[Prediction]
    semantic: np.ndarray


def evaluate_rows(
    labels: Iterable[dict[str, Any]],
    seeds: Iterable[dict[str, Any]],
    truth: Truth,
    *,
    image_ids: set[str],
    vocabulary: Sequence[str],
) -> Evaluation:
    """Measure rows of `tables.LABELS` and of `tables.SEEDS`, one at a time and in any order.

    `image_ids` are those of the run: truth outside it is left out and counted, and an image of it with truth
    but without a row counts as one in which nothing was found. `vocabulary` names the seeds' class ids.
    Raises UserError where truth and run share no image, an image comes twice, or sizes differ.
    """
    images = {name: image for name, image in truth.images.items() if name in image_ids}
    if not images:
        here, there = min(image_ids, default="none"), min(truth.images, default="none")
        raise UserError(
            f"None of the {len(truth.images)} file names of the truth (such as {there}) is an image of the "
            f"run (such as {here}): name the truth of these images."
        )
    return Evaluation(
        cam=_measure((found_in_seeds(row, images[row["image_id"]], vocabulary) for row in _of(images, seeds)), images),
        labels=_measure((found_in_labels(row) for row in _of(images, labels)), images),
        images=len(images),
        images_outside_run=len(truth.images) - len(images),
        truth_instances=_truth_instances(images),
    )


def found_in_labels(row: dict[str, Any]) -> Found:
    """Predictions of a row of `tables.LABELS`."""
    size, image_id = [row["height"], row["width"]], row["image_id"]
    instances = [
        Prediction(image_id, i["class_name"], i["score"], {"size": size, "counts": i["rle"].encode("ascii")})
        for i in row["instances"]
    ]
    return Found(image_id, row["tags"], instances, tables.decode_png(row["semantic"]))


def found_in_seeds(row: dict[str, Any], image: TruthImage, vocabulary: Sequence[str]) -> Found:
    """Predictions of the raw CAM in a row of `tables.SEEDS`, cut at the threshold of the labels."""
    import torch
    from pycocotools import mask as coco

    from irnet_ray.algorithms.synthesis import cam_instances, cam_semantic

    tags = [vocabulary[number] for number in row["class_ids"]]
    strided = torch.from_numpy(tables.decode_cam(row))
    # A large image is worked on at a smaller size: that of its confident map.
    height, width = tables.decode_png(row["confident_map"]).shape
    grid = (-(-height // STRIDE), -(-width // STRIDE))
    if tuple(strided.shape) != (len(tags), *grid) or abs(height / width * image.width / image.height - 1) > 0.1:
        raise UserError(
            f"The CAM of {row['image_id']} is of an image of {width} x {height} pixels, and its truth of one of "
            f"{image.width} x {image.height}: name the truth of these images."
        )
    full = torch.zeros(0, image.height, image.width)
    if tags:
        full = torch.nn.functional.interpolate(
            strided[None], scale_factor=STRIDE, mode="bilinear", align_corners=False
        )[:, :, :height, :width]
        full = torch.nn.functional.interpolate(full, (image.height, image.width), mode="bilinear", align_corners=False)[
            0
        ]
    found = cam_instances(full, CAM_THRESHOLD, CAM_MIN_AREA)
    masks = coco.encode(np.asfortranarray(found.masks.numpy().astype(np.uint8).transpose(1, 2, 0)))
    instances = [
        Prediction(row["image_id"], tags[int(k)], float(score), rle)
        for rle, k, score in zip(masks, found.class_index, found.score, strict=True)
    ]
    return Found(row["image_id"], tags, instances, cam_semantic(full, CAM_THRESHOLD).numpy())


def _of(images: dict[str, TruthImage], rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows of images that have truth; UserError for an image that comes twice."""
    seen: set[str] = set()
    for row in rows:
        image_id = row["image_id"]
        if image_id not in images:
            continue
        if image_id in seen:
            raise UserError(f"{image_id} has two rows in one table: evaluate a run that is not mixed with another.")
        seen.add(image_id)
        yield row


def _measure(found: Iterable[Found], images: dict[str, TruthImage]) -> Scores:
    """Scores of predictions over `images`, those without any included."""
    classes = sorted({i.class_name for image in images.values() for i in image.instances if not i.crowd})
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    other = len(classes) + 1  # a predicted class that no truth holds: always wrong, never a row of its own
    ap50, ap70, any50 = AveragePrecision(0.5), AveragePrecision(0.7), AveragePrecision(0.5)
    overlap = IntersectionOverUnion(len(classes) + 2, ignore=-1)
    predicted, missing = 0, dict(images)

    def add(one: Found) -> None:
        image = images[one.image_id]
        if one.semantic.shape != (image.height, image.width):
            height, width = one.semantic.shape
            raise UserError(
                f"The label of {one.image_id} has {width} x {height} pixels, and its truth {image.width} x "
                f"{image.height}: name the truth of these images."
            )
        ap50.add(one.instances, image.instances)
        ap70.add(one.instances, image.instances)
        any50.add(
            [replace(p, class_name="any") for p in one.instances],
            [replace(t, class_name="any") for t in image.instances],
        )
        of_tag = np.array([0, *(numbers.get(tag, other) for tag in one.tags)], np.int32)
        overlap.add(of_tag[one.semantic], semantic_map(image.instances, numbers, one.semantic.shape))

    for one in found:
        add(one)
        predicted += len(one.instances)
        del missing[one.image_id]
    for image_id, image in missing.items():
        add(Found(image_id, (), [], np.zeros((image.height, image.width), np.uint8)))
    by_class = overlap.by_class()
    return Scores(
        ap50=ap50.by_class(),
        ap70=ap70.by_class(),
        ap50_any_class=any50.by_class().get("any", float("nan")),
        iou={name: float(by_class[number]) for name, number in {"background": 0, **numbers}.items()},
        images=len(images) - len(missing),
        instances=predicted,
    )


def _truth_instances(images: dict[str, TruthImage]) -> dict[str, int]:
    """How many instances, crowds left out, of each class."""
    counts: dict[str, int] = {}
    for image in images.values():
        for instance in image.instances:
            if not instance.crowd:
                counts[instance.class_name] = counts.get(instance.class_name, 0) + 1
    return dict(sorted(counts.items()))
