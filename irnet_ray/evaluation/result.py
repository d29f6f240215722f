"""The figures of an evaluation, as JSON and as text for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from irnet_ray.errors import printable
from irnet_ray.evaluation.bootstrap import CONFIDENCE, Figure
from irnet_ray.evaluation.ranking import Ranking
from irnet_ray.text import table

CAM, BOUNDARY, AFFINITYNET, LABELS = "CAM", "CAM + boundary", "AffinityNet", "labels"
CAM_ONE_SCALE = "CAM, scale 1"  # of a run that computed the CAM at scale 1 alone
PREDICTIONS, UPPER_BOUND = "predictions", "trained on truth"

INSTANCE_FIGURES = {"ap50": "AP50", "ap70": "AP70", "ap50_any_class": "AP50 any class"}
SEMANTIC_FIGURES = {"miou": "mIoU", "precision": "pixel precision", "recall": "pixel recall"}


@dataclass(frozen=True, eq=False)
class Scores:
    """The figures of one variant, in [0, 1]; NaN without truth.

    `figures` has the keys of `INSTANCE_FIGURES`, of `SEMANTIC_FIGURES`, or both. AP50, AP70 and mIoU are means over
    classes, mIoU over the background too. The others are taken over the instances, or foreground pixels, of all classes
    together. `classes` holds `ap50`, `ap70` and `iou` by class.
    """

    figures: dict[str, Figure]
    classes: dict[str, dict[str, float]]
    images: int  # with a row; an image without one counts as one without predictions
    instances: int | None  # predicted; None for a variant of semantic maps alone

    def __or__(self, other: Scores) -> Scores:
        """The figures of one variant together: `self` those of its instances, `other` those of its semantic maps."""
        return Scores(self.figures | other.figures, self.classes | other.classes, self.images, self.instances)

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`."""
        return {
            **{figure: _plain(value) for figure, value in self.figures.items()},
            "images": self.images,
            **({} if self.instances is None else {"instances": self.instances}),
            "classes": {
                figure: {of: _null(value) for of, value in by_class.items()}
                for figure, by_class in self.classes.items()
            },
        }


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Variants of labels against the same truth, from the simplest to the labels themselves; or predictions alone."""

    variants: dict[str, Scores]
    images: int  # of the run that have truth
    images_outside_run: int  # of the truth that are not in the run, and do not count
    truth_instances: dict[str, int]  # by class
    ranking: Ranking  # of the labels by their quality
    resamples: int  # of images, for the intervals
    upper_bound: Scores | None = None  # of the same student, trained on truth
    names: Mapping[str, str] = field(default_factory=dict)  # shown in place of classes that are ids
    notes: Sequence[str] = ()  # how classes of the truth were matched with the run's

    @property
    def subject(self) -> str:
        """What is evaluated, which is the last of the variants: labels or predictions."""
        return list(self.variants)[-1]

    def shares(self) -> dict[str, Figure]:
        """By figure, the share of the upper bound that the subject reaches; empty without an upper bound."""
        if self.upper_bound is None:
            return {}
        own, most = self.variants[self.subject].figures, self.upper_bound.figures
        return {figure: own[figure] / most[figure] for figure in own if figure in most}

    def steps(self) -> dict[tuple[str, str], dict[str, Figure]]:
        """What each variant gains over the one before it: (before, after) ▶ differences by figure."""
        gains: dict[tuple[str, str], dict[str, Figure]] = {}
        for figures in (INSTANCE_FIGURES, SEMANTIC_FIGURES):
            for before, after in pairwise(self._with(figures)):
                pair = gains.setdefault((before, after), {})
                pair |= {f: self.variants[after].figures[f] - self.variants[before].figures[f] for f in figures}
        return gains

    def to_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`: figures in [0, 1] with their intervals, null without truth."""
        return {
            "images": self.images,
            "images_outside_run": self.images_outside_run,
            "truth_instances": self.truth_instances,
            "resamples": self.resamples,
            "notes": list(self.notes),
            "quality": {
                "masks": self.ranking.masks,
                "rank_correlation": _plain(self.ranking.correlation),
                "iou_better_half": _plain(self.ranking.better),
                "iou_worse_half": _plain(self.ranking.worse),
            },
            "variants": {name: scores.to_json() for name, scores in self.variants.items()},
            "differences": [
                {"of": after, "over": before, **{figure: _plain(value) for figure, value in gains.items()}}
                for (before, after), gains in self.steps().items()
            ],
            **(
                {}
                if self.upper_bound is None
                else {
                    "upper_bound": self.upper_bound.to_json(),
                    "share_of_upper_bound": {figure: _plain(value) for figure, value in self.shares().items()},
                }
            ),
        }

    def table(self) -> str:
        """Aligned tables in percent: of instances, of semantic maps, and by class."""
        gain = "A gain is over the row above." if self.steps() else ""
        share = "A share is of what the same student reaches when it is trained on truth." if self.shares() else ""
        parts = [
            self._means("instance labels", INSTANCE_FIGURES, "CAM + boundary + displacement"),
            self._means("semantic labels", SEMANTIC_FIGURES, "IRNet"),
            f"In brackets the {100 * CONFIDENCE:.0f} % interval over {self.resamples} resamples of images. "
            f"{gain}{share}".strip(),
            self._quality(),
            self._by_class(),
        ]
        parts = [part for part in parts if part]
        if self.images_outside_run:
            parts.append(f"{self.images_outside_run} images of the truth are not in this run and were left out.")
        parts += [f"note: {printable(note)}" for note in self.notes]
        return "\n\n".join(parts)

    @property
    def _ablation(self) -> bool:
        return len(self.variants) > 2

    def _with(self, figures: dict[str, str]) -> list[str]:
        """Names of the variants that have these figures, in order."""
        return [name for name, scores in self.variants.items() if figures.keys() <= scores.figures.keys()]

    def _means(self, title: str, figures: dict[str, str], labels: str) -> str:
        """A table of variants and their gains. In an ablation, `labels` is the name that the paper gives the labels."""
        count = figures is INSTANCE_FIGURES
        if not self._with(figures):
            return ""
        rows = [[title, *figures.values(), *(["instances"] if count else []), "images"]]
        steps, before = self.steps(), None
        for name in self._with(figures):
            scores = self.variants[name]
            shown = labels if name == LABELS and self._ablation else name
            cells = [_percent(scores.figures[figure]) for figure in figures]
            rows.append([shown, *cells, *([str(scores.instances)] if count else []), str(scores.images)])
            if before is not None:
                gains = [_percent(steps[before, name][figure], "+") for figure in figures]
                rows.append(["  gain", *gains, *([""] if count else []), ""])
            before = name
        if self.upper_bound is not None:
            most, shares = self.upper_bound, self.shares()
            cells = [_percent(most.figures[figure]) for figure in figures]
            rows.append([UPPER_BOUND, *cells, *([str(most.instances)] if count else []), str(most.images)])
            rows.append(["  share", *(_percent(shares[figure]) for figure in figures), *([""] if count else []), ""])
        truth = [str(sum(self.truth_instances.values()))] if count else []
        rows.append(["truth", *([""] * len(figures)), *truth, str(self.images)])
        return "\n".join(table(rows))

    def _quality(self) -> str:
        """A sentence on how well the labels' own quality ranks them."""
        if not self.ranking.masks:
            return ""
        low, high = self.ranking.correlation.interval
        return (
            f"Quality of {self.ranking.masks} {self.subject}: mean IoU with the truth {_percent(self.ranking.better)} "
            f"in the better half, {_percent(self.ranking.worse)} in the worse;\n"
            f"rank correlation {self.ranking.correlation.value:.2f} [{low:.2f}, {high:.2f}]."
        )

    def _by_class(self) -> str:
        instances, maps = self._with(INSTANCE_FIGURES), self._with(SEMANTIC_FIGURES)
        short = {BOUNDARY: "+ boundary", LABELS: "+ displacement"} if self._ablation else {}
        areas_of = [short.get(name, name) for name in instances]
        ious_of = ["IRNet" if name == LABELS and self._ablation else name for name in maps]
        for figure, names in (("AP50", areas_of), ("IoU", ious_of)):
            names[:1] = [f"{figure} {name}" for name in names[:1]]
        head = ["class", "truth", *areas_of, *ious_of]
        rows = [head]
        for name in self.variants[self.subject].classes["iou"]:
            areas = [self.variants[variant].classes["ap50"].get(name) for variant in instances]
            ious = [self.variants[variant].classes["iou"][name] for variant in maps]
            rows.append(
                [self.names.get(name, name), str(self.truth_instances.get(name, "")), *map(_cell, [*areas, *ious])]
            )
        return "\n".join(table(rows))


def _plain(figure: Figure) -> dict[str, Any]:
    return {"value": _null(figure.value), "interval": [_null(end) for end in figure.interval]}


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _percent(figure: Figure, sign: str = "") -> str:
    """`10.8 [8.1, 13.9]`; with the sign "+", for a difference, `+2.1 [0.3, 4.0]`."""
    if math.isnan(figure.value):
        return "-"
    low, high = figure.interval
    return f"{100 * figure.value:{sign}z.1f} [{100 * low:z.1f}, {100 * high:z.1f}]"


def _cell(value: float | None) -> str:
    return "" if value is None else "-" if math.isnan(value) else f"{100 * value:.1f}"
