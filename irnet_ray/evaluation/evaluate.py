"""Measure labels, and the simpler methods that paper 6.2 compares them with, against truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from irnet_ray.algorithms.maps import STRIDE
from irnet_ray.config.sections import Labels
from irnet_ray.errors import UserError
from irnet_ray.evaluation.average_precision import Prediction
from irnet_ray.evaluation.bootstrap import RESAMPLES, draws
from irnet_ray.evaluation.measure import InstanceMeasure, SemanticMeasure
from irnet_ray.evaluation.ranking import RankingMeasure
from irnet_ray.evaluation.result import AFFINITYNET, BOUNDARY, CAM, LABELS, PREDICTIONS, Evaluation, Scores
from irnet_ray.evaluation.truth import Truth, TruthImage
from irnet_ray.masks import coco_rle, decode_cam, decode_png
from irnet_ray.tables import Row

# The normalized CAM is cut as labels are by default (paper 5.2).
CAM_THRESHOLD = Labels().background
CAM_MIN_AREA = Labels().min_area


class Found(NamedTuple):
    """The predictions for one image."""

    image_id: str
    tags: Sequence[str]
    instances: list[Prediction]
    semantic: np.ndarray  # uint8 (H, W): 0 background, k is `tags[k - 1]`
    quality: Sequence[float] = ()  # of each instance, if known


def evaluate_rows(
    labels: Iterable[Row],
    seeds: Iterable[Row],
    truth: Truth,
    *,
    image_ids: set[str],
    vocabulary: Sequence[str],
    ablation: Iterable[Row] | None = None,
    cam: str = CAM,
) -> Evaluation:
    """Measure the labels of a run, one row at a time.

    Args:
        labels: rows of `tables.LABELS`, in any order.
        seeds: rows of `tables.SEEDS`, in any order, for the CAM that labels are compared with.
        truth: images outside the run are not measured, but counted. An image of the run that has truth but no row
            counts as one without predictions.
        image_ids: of the run.
        vocabulary: names of the seeds' class ids.
        ablation: rows of `tables.ABLATION`, in any order, read after all others. With them there are four variants,
            and the CAM is theirs, over all scales. Without them there are two, the labels and the CAM of the seeds.
        cam: name of the CAM of the seeds.

    Raises:
        UserError: truth and run share no image, an image has two rows, or the sizes of an image differ.
    """
    images = with_truth(truth, image_ids)
    draws_NR = draws(len(images))
    ranking = RankingMeasure(images)
    labels_measures = _measure(
        (found_in_row(row, "instances", "semantic") for row in _of(images, labels)), images, ranking
    )
    made = _scores(labels_measures, draws_NR)
    if ablation is None:
        found = (found_in_seeds(row, images[row["image_id"]], vocabulary) for row in _of(images, seeds))
        scores = {cam: _scores(_measure(found, images), draws_NR), LABELS: made}
    else:
        scores = {**_compared(ablation, images, vocabulary, draws_NR), LABELS: made}
    return Evaluation(
        variants=scores,
        images=len(images),
        images_outside_run=len(truth.images) - len(images),
        truth_instances=_truth_instances(images),
        ranking=ranking.ranking(draws_NR),
        resamples=RESAMPLES,
    )


def evaluate_predictions(
    predictions: Iterable[Row],
    truth: Truth,
    *,
    image_ids: set[str],
    instances: bool,
    upper_bound: Iterable[Row] | None = None,
) -> Evaluation:
    """Measure a student's predictions as `evaluate_rows` measures labels (paper 6.3).

    Args:
        predictions: rows of `tables.LABELS`, in any order.
        truth, image_ids: as for `evaluate_rows`.
        instances: whether the student predicts instances. If not, only its semantic maps are measured.
        upper_bound: predictions of the same student, trained on truth; read after the others.

    Raises:
        UserError: as `evaluate_rows`.
    """
    images = with_truth(truth, image_ids)
    draws_NR = draws(len(images))
    ranking = RankingMeasure(images)

    def scores(rows: Iterable[Row], ranking: RankingMeasure | None) -> Scores:
        found = (found_in_row(row, "instances", "semantic") for row in _of(images, rows))
        masks, maps = _measure(found, images, ranking)
        return masks.scores(draws_NR) | maps.scores(draws_NR) if instances else maps.scores(draws_NR)

    own = scores(predictions, ranking)
    return Evaluation(
        variants={PREDICTIONS: own},
        images=len(images),
        images_outside_run=len(truth.images) - len(images),
        truth_instances=_truth_instances(images),
        ranking=ranking.ranking(draws_NR),
        resamples=RESAMPLES,
        upper_bound=None if upper_bound is None else scores(upper_bound, None),
    )


def with_truth(truth: Truth, image_ids: set[str]) -> dict[str, TruthImage]:
    """The truth of the run's images, by id. Raises UserError if no image has any."""
    images = {name: image for name, image in truth.images.items() if name in image_ids}
    if not images:
        here, there = min(image_ids, default="none"), min(truth.images, default="none")
        raise UserError(
            f"None of the {len(truth.images)} file names of the truth (such as {there}) is an image of the "
            f"run (such as {here}): name the truth of these images."
        )
    return images


def found_in_row(row: Row, instances: str, semantic: str) -> Found:
    """Predictions of a row of `tables.LABELS` or `tables.ABLATION`, from these two columns."""
    image_id, size = row["image_id"], (row["height"], row["width"])
    predictions = [Prediction(image_id, i["class_name"], i["score"], coco_rle(i, size)) for i in row[instances]]
    quality = [i["quality"] for i in row[instances]]
    return Found(image_id, row["tags"], predictions, decode_png(row[semantic]), quality)


def found_in_seeds(row: Row, image: TruthImage, vocabulary: Sequence[str]) -> Found:
    """Predictions of the raw CAM in a row of `tables.SEEDS`, cut at the threshold of the labels."""
    import torch
    from pycocotools import mask as coco
    from torch.nn.functional import interpolate

    from irnet_ray.algorithms.attention import upsample
    from irnet_ray.algorithms.synthesis import cam_instances, cam_semantic

    if not all(0 <= number < len(vocabulary) for number in row["class_ids"]):
        raise UserError(
            f"The CAM of {row['image_id']} is of a class that the run's current.json does not name: run the command "
            "that labeled it again, which repairs it."
        )
    tags = [vocabulary[number] for number in row["class_ids"]]
    strided = torch.from_numpy(decode_cam(row))
    # A large image is worked on at a smaller size: that of its confident map.
    height, width = decode_png(row["confident_map"]).shape
    grid = (-(-height // STRIDE), -(-width // STRIDE))
    if tuple(strided.shape) != (len(tags), *grid) or abs(height / width * image.width / image.height - 1) > 0.1:
        raise UserError(
            f"The CAM of {row['image_id']} is of an image of {width} x {height} pixels, and its truth of one of "
            f"{image.width} x {image.height}: name the truth of these images."
        )
    full = torch.zeros(0, image.height, image.width)
    if tags:
        size = (image.height, image.width)
        full = interpolate(upsample(strided, (height, width))[None], size, mode="bilinear", align_corners=False)[0]
    found = cam_instances(full, threshold=CAM_THRESHOLD, min_area_fraction=CAM_MIN_AREA)
    masks = coco.encode(np.asfortranarray(found.masks.numpy().astype(np.uint8).transpose(1, 2, 0)))
    instances = [
        Prediction(row["image_id"], tags[int(k)], float(score), rle)
        for rle, k, score in zip(masks, found.class_index, found.score, strict=True)
    ]
    return Found(row["image_id"], tags, instances, cam_semantic(full, threshold=CAM_THRESHOLD).numpy())


def _of(images: dict[str, TruthImage], rows: Iterable[Row]) -> Iterator[Row]:
    """The rows of images that have truth. Raises UserError for an image that has two rows."""
    seen: set[str] = set()
    for row in rows:
        image_id = row["image_id"]
        if image_id not in images:
            continue
        if image_id in seen:
            raise UserError(f"{image_id} has two rows in one table: two runs are mixed there, so evaluate another.")
        seen.add(image_id)
        yield row


def _measure(
    found: Iterable[Found], images: dict[str, TruthImage], ranking: RankingMeasure | None = None
) -> tuple[InstanceMeasure, SemanticMeasure]:
    """Measure predictions one image at a time, without keeping them."""
    instances, maps = InstanceMeasure(images), SemanticMeasure(images)
    for one in found:
        instances.add(one.image_id, one.instances)
        maps.add(one.image_id, one.tags, one.semantic)
        if ranking is not None:
            ranking.add(one.image_id, one.instances, one.quality)
    return instances, maps


def _scores(measures: tuple[InstanceMeasure, SemanticMeasure], draws_NR: np.ndarray) -> Scores:
    instances, maps = measures
    return instances.scores(draws_NR) | maps.scores(draws_NR)


def _compared(
    rows: Iterable[Row], images: dict[str, TruthImage], vocabulary: Sequence[str], draws_NR: np.ndarray
) -> dict[str, Scores]:
    """The variants of the paper's comparisons: the CAM has instances and maps, the others have one of the two."""
    cams = InstanceMeasure(images), SemanticMeasure(images)
    boundary, affinitynet = InstanceMeasure(images), SemanticMeasure(images)
    for row in _of(images, rows):
        image_id, tags = row["image_id"], row["tags"]
        raw = found_in_seeds(row, images[image_id], vocabulary)
        relation = found_in_row(row, "boundary_instances", "affinitynet_semantic")
        for instances, found in ((cams[0], raw), (boundary, relation)):
            instances.add(image_id, found.instances)
        for maps, found in ((cams[1], raw), (affinitynet, relation)):
            maps.add(image_id, tags, found.semantic)
    return {
        CAM: _scores(cams, draws_NR),
        BOUNDARY: boundary.scores(draws_NR),
        AFFINITYNET: affinitynet.scores(draws_NR),
    }


def _truth_instances(images: dict[str, TruthImage]) -> dict[str, int]:
    """How many instances there are of each class, crowds left out."""
    counts: dict[str, int] = {}
    for image in images.values():
        for instance in image.instances:
            if not instance.crowd:
                counts[instance.class_name] = counts.get(instance.class_name, 0) + 1
    return dict(sorted(counts.items()))
