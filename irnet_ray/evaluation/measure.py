"""Measure the predictions of each image against its truth. Only verdicts and counts are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from irnet_ray.errors import UserError
from irnet_ray.evaluation.average_precision import AveragePrecision, Prediction
from irnet_ray.evaluation.bootstrap import Figure, mean_over_classes
from irnet_ray.evaluation.pixels import PixelCounts
from irnet_ray.evaluation.result import Scores
from irnet_ray.evaluation.truth import TruthImage, semantic_map


class InstanceMeasure:
    """AP of instance masks over `images`, which are numbered in the order of their ids."""

    def __init__(self, images: dict[str, TruthImage]) -> None:
        self.images = images
        self._left = {image_id: number for number, image_id in enumerate(sorted(images))}
        self._instances = 0
        self._ap50, self._ap70, self._any50 = AveragePrecision(0.5), AveragePrecision(0.7), AveragePrecision(0.5)

    def add(self, image_id: str, predictions: Sequence[Prediction]) -> None:
        """Match the predictions of an image. Call this at most once per image."""
        number, truth = self._left.pop(image_id), self.images[image_id].instances
        self._instances += len(predictions)
        self._ap50.add(number, predictions, truth)
        self._ap70.add(number, predictions, truth)
        self._any50.add(
            number,
            [replace(p, class_name="any") for p in predictions],
            [replace(t, class_name="any") for t in truth],
        )

    def scores(self, draws_NR: np.ndarray) -> Scores:
        """AP in each sample of images. An image that was never added counts as one without predictions."""
        came = len(self.images) - len(self._left)
        for image_id in list(self._left):
            self.add(image_id, [])
        ap50, ap70 = self._ap50.by_class(draws_NR), self._ap70.by_class(draws_NR)
        undefined = np.full(draws_NR.shape[1], np.nan)
        return Scores(
            figures={
                "ap50": _mean(ap50, draws_NR),
                "ap70": _mean(ap70, draws_NR),
                "ap50_any_class": Figure(self._any50.by_class(draws_NR).get("any", undefined)),
            },
            classes={
                "ap50": {name: float(area[0]) for name, area in ap50.items()},
                "ap70": {name: float(area[0]) for name, area in ap70.items()},
            },
            images=came,
            instances=self._instances,
        )


class SemanticMeasure:
    """IoU, precision and recall of semantic maps over `images`, which are numbered in the order of their ids."""

    def __init__(self, images: dict[str, TruthImage]) -> None:
        self.images = images
        self._left = {image_id: number for number, image_id in enumerate(sorted(images))}
        self.classes = sorted({i.class_name for image in images.values() for i in image.instances if not i.crowd})
        self._numbers = {name: number for number, name in enumerate(self.classes, start=1)}
        # The last number is for predicted classes without truth. They are always wrong, and get no row in the results.
        self._pixels = PixelCounts(len(self.classes) + 2)

    def add(self, image_id: str, tags: Sequence[str], semantic_HW: np.ndarray) -> None:
        """Count the semantic map of an image, uint8 (H, W): 0 background, k is `tags[k - 1]`.

        Raises:
            UserError: its size is not that of the truth.
        """
        image = self.images[image_id]
        if semantic_HW.shape != (image.height, image.width):
            height, width = semantic_HW.shape
            raise UserError(
                f"The label of {image_id} has {width} x {height} pixels, and its truth {image.width} x "
                f"{image.height}: name the truth of these images."
            )
        other = len(self.classes) + 1
        of_tag = np.array([0, *(self._numbers.get(tag, other) for tag in tags)], np.int32)
        truth_HW = semantic_map(image.instances, self._numbers, (image.height, image.width))
        self._pixels.add(self._left.pop(image_id), of_tag[semantic_HW], truth_HW)

    def scores(self, draws_NR: np.ndarray) -> Scores:
        """All figures in each sample of images. An image that was never added counts as one of background alone."""
        came = len(self.images) - len(self._left)
        for image_id in list(self._left):
            image = self.images[image_id]
            self.add(image_id, (), np.zeros((image.height, image.width), np.uint8))
        iou_CR = self._pixels.iou(draws_NR)
        return Scores(
            figures={
                "miou": Figure(mean_over_classes(iou_CR)),
                "precision": Figure(self._pixels.precision(draws_NR)),
                "recall": Figure(self._pixels.recall(draws_NR)),
            },
            classes={"iou": {name: float(iou_CR[n, 0]) for n, name in enumerate(["background", *self.classes])}},
            images=came,
            instances=None,
        )


def _mean(by_class: dict[str, np.ndarray], draws_NR: np.ndarray) -> Figure:
    return Figure(mean_over_classes(np.array(list(by_class.values())).reshape(-1, draws_NR.shape[1])))
