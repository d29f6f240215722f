"""The figures of an evaluation, as JSON and as a table for people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Scores:
    """AP by class, AP whatever the class, IoU by class and background: in [0, 1], NaN without truth."""

    ap50: dict[str, float]
    ap70: dict[str, float]
    ap50_any_class: float
    iou: dict[str, float]
    images: int  # with a row; the others count as images in which nothing was found
    instances: int

    @property
    def summary(self) -> dict[str, float]:
        """The means over classes; that of the IoU includes the background."""
        return {
            "ap50": _mean(self.ap50.values()),
            "ap70": _mean(self.ap70.values()),
            "ap50_any_class": self.ap50_any_class,
            "miou": _mean(self.iou.values()),
        }


@dataclass(frozen=True)
class Evaluation:
    """Labels and raw CAMs against the same truth."""

    cam: Scores
    labels: Scores
    images: int  # of the run, with truth
    images_outside_run: int  # of the truth, left out
    truth_instances: dict[str, int]  # by class

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`: figures in [0, 1], null where there is no truth."""
        return {
            "images": self.images,
            "images_outside_run": self.images_outside_run,
            "truth_instances": self.truth_instances,
            **{
                name: {
                    **_nulls(scores.summary),
                    "images": scores.images,
                    "instances": scores.instances,
                    "classes": {
                        "ap50": _nulls(scores.ap50),
                        "ap70": _nulls(scores.ap70),
                        "iou": _nulls(scores.iou),
                    },
                }
                for name, scores in (("cam", self.cam), ("labels", self.labels))
            },
        }

    def table(self) -> str:
        """Two aligned tables in percent: the means, and each class."""
        head = ["", "AP50", "AP70", "AP50 any class", "mIoU", "instances", "images"]
        means = [
            [name, *map(_percent, scores.summary.values()), str(scores.instances), str(scores.images)]
            for name, scores in (("CAM", self.cam), ("labels", self.labels))
        ]
        truth = ["truth", "", "", "", "", str(sum(self.truth_instances.values())), str(self.images)]
        class_head = ["class", "truth", "AP50 CAM", "labels", "AP70 CAM", "labels", "IoU CAM", "labels"]
        both = (self.cam, self.labels)
        classes = [
            [
                name,
                str(self.truth_instances.get(name, "")),
                *(_percent(s.ap50.get(name)) for s in both),
                *(_percent(s.ap70.get(name)) for s in both),
                *(_percent(s.iou.get(name)) for s in both),
            ]
            for name in self.cam.iou
        ]
        text = _aligned([head, *means, truth]) + "\n\n" + _aligned([class_head, *classes])
        if self.images_outside_run:
            text += f"\n\n{self.images_outside_run} images of the truth are not in this run and were left out."
        return text


def _mean(values: Any) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else float("nan")


def _nulls(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in figures.items()}


def _percent(value: float | None) -> str:
    return "" if value is None else "-" if math.isnan(value) else f"{100 * value:.1f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns two spaces apart, the first to the left and the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(c.rjust(w) if n else c.ljust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    )
