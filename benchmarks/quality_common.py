"""Shared by the quality benchmarks: a finished run with truth, and Markdown rows of figures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from irnet_ray.algorithms.attention import upsample
from irnet_ray.algorithms.synthesis import cam_instances, cam_semantic
from irnet_ray.evaluation.average_precision import Prediction
from irnet_ray.evaluation.bootstrap import draws
from irnet_ray.evaluation.evaluate import CAM_MIN_AREA, with_truth
from irnet_ray.evaluation.measure import InstanceMeasure, SemanticMeasure
from irnet_ray.evaluation.result import Scores
from irnet_ray.evaluation.truth import TruthImage, load_truth
from irnet_ray.masks import encode_mask
from irnet_ray.runs.run import FinishedRun

FIGURES = {"ap50": "AP50", "ap70": "AP70", "ap50_any_class": "AP50 any class", "miou": "mIoU"}
Measures = tuple[InstanceMeasure, SemanticMeasure]


@dataclass(frozen=True)
class Run(FinishedRun):
    """A finished run and the truth of some of its images."""

    truth: dict[str, TruthImage]

    @staticmethod
    def of(out: str, truth: str) -> Run:
        """The run in `out`, with the truth of its images from `truth`, a COCO JSON file."""
        found = FinishedRun.open(out)
        run = Run(found.folder, found.version, {})
        ids = {row["image_id"] for row in run._all("images")}
        return Run(found.folder, found.version, with_truth(load_truth(Path(truth)), ids))

    def rows(self, *names: str) -> Iterator[dict[str, Any]]:
        """Rows of the images with truth, joined over tables."""
        joined: dict[str, dict[str, Any]] = {}
        for name in names:
            for row in self._all(name):
                joined.setdefault(row["image_id"], {}).update(row)
        yield from (row for _, row in sorted(joined.items()) if row.keys() - {"image_id"})

    def _all(self, name: str) -> Iterator[dict[str, Any]]:
        rows = self.shards(name).rows
        for part in rows.files():
            for row in rows.read_table(part).to_pylist():
                if not self.truth or row["image_id"] in self.truth:
                    yield row

    def measure_attention(
        self, measures: Measures, row: dict[str, Any], attention_Khw: torch.Tensor, threshold: float
    ) -> None:
        """Measure attention at stride 4, cut at a threshold, without IRNet."""
        image = self.truth[row["image_id"]]
        full = upsample(attention_Khw, (image.height, image.width))
        found = cam_instances(full, threshold=threshold, min_area_fraction=CAM_MIN_AREA)
        masks = zip(found.masks.numpy(), found.class_index.tolist(), found.score.tolist(), strict=True)
        self.measure(measures, row, list(masks), cam_semantic(full, threshold=threshold).numpy())

    def measure(
        self,
        measures: Measures,
        row: dict[str, Any],
        masks: list[tuple[np.ndarray, int, float]],
        semantic_HW: np.ndarray,
    ) -> None:
        """Measure an image's semantic map, and its masks, each with the index of its tag and its score."""
        size = [row["height"], row["width"]]
        predictions = [
            Prediction(
                row["image_id"], row["tags"][k], score, {"size": size, "counts": encode_mask(mask)["rle"].encode()}
            )
            for mask, k, score in masks
        ]
        measures[0].add(row["image_id"], predictions)
        measures[1].add(row["image_id"], row["tags"], semantic_HW)

    def scores(self, measures: Measures) -> Scores:
        samples = draws(len(self.truth))
        return measures[0].scores(samples) | measures[1].scores(samples)


def heading(name: str, *more: str) -> str:
    """The head of a Markdown table."""
    cells = [name, *FIGURES.values(), "instances", *more]
    return f"| {' | '.join(cells)} |\n|{'---|' * len(cells)}"


def row_of_figures(name: str, scores: Scores, *more: str) -> str:
    """A Markdown row: each figure in percent with its 95 % interval over images."""
    cells = []
    for figure in FIGURES:
        low, high = scores.figures[figure].interval
        cells.append(f"{100 * scores.figures[figure].value:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
    return f"| {' | '.join([name, *cells, str(scores.instances), *more])} |"
