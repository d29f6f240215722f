"""A run's report in lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from irnet_ray.errors import printable
from irnet_ray.report.classifier import WEAK_AP

WIDTH = 100  # columns of the report
ROWS = 12  # of its table
WEAK_NAMED = 8  # tags in the warning after the classifier's training
HEAD = ["class", "images", "pixels %", "CAM %", "label %", "IoU", "per image", "none %", "quality", "AP"]


def classifier_lines(known: dict[str, Any]) -> list[str]:
    """One or two lines on `report.classifier.known_tags`: how good the classifier is, and its weak tags."""
    tags = known["tags"]
    if not tags:
        return ["classifier: nothing measured, too few images to hold some out"]
    missing = known["not_measured"]
    rest = f"; {missing} tag{'' if missing == 1 else 's'} could not be measured" if missing else ""
    of = f"{len(tags)} tag{'' if len(tags) == 1 else 's'} on {known['held_out']} held-out images"
    lines = [f"classifier: mean AP {known['mean_ap']:.2f} of {of}{rest}"]
    if known["weak"]:
        weak = _listed([f"{_plain(name)} {tags[name]['ap']:.2f}" for name in known["weak"]], WEAK_NAMED)
        lines.append(
            f"weak tags, AP under {WEAK_AP:g}: {weak}. Masks of these will be poor: IRNet amplifies bad attention maps."
        )
    return lines


def report_lines(report: dict[str, Any]) -> list[str]:
    """The content of report.json in at most 21 lines of at most 100 columns: ROWS, a head, 3 sums, 5 rules."""
    overall, lines = report["overall"], []
    if overall["images"]:
        lines += _table(report["classes"], report["classifier"]["tags"])
        lines.append(
            f"all classes: CAM {_percent(overall['cam_share_in_its_images'])} % of pixels, label "
            f"{_percent(overall['label_share_in_its_images'])} %, IoU of both {_two(overall['cam_label_iou'])}"
            "; each class: of its own images"
        )
        lines.append(
            f"instances: {_two(overall['instances_per_image'])} per image, mean quality "
            f"{_two(overall['mean_quality'])}, none in {overall['images_without_instance']} of "
            f"{overall['images']} images"
        )
    if report["errors"]:
        kinds = sorted(report["errors_by_kind"].items(), key=lambda kind: (-kind[1], kind[0]))
        lines.append(_fitting("errors", [f"{_plain(kind)} {count}" for kind, count in kinds]))
    return lines + [_fitting(f"unusual: {entry['what']}", entry["cases"]) for entry in report["unusual"]]


def _table(classes: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """The classes with most images, under a head."""
    ranked = sorted(classes, key=lambda name: (-classes[name]["images"], name))
    shown = ranked if len(ranked) <= ROWS else ranked[: ROWS - 1]
    cells = [HEAD]
    for name in shown:
        one = classes[name]
        shares = ("pixels_share", "cam_share_in_its_images", "label_share_in_its_images")
        cells.append(
            [
                _plain(name),
                str(one["images"]),
                *(_percent(one[share]) for share in shares),
                _two(one["cam_label_iou"]),
                _two(one["instances_per_image"]),
                _percent(one["images_without_instance_share"]),
                _two(one["mean_quality"]),
                _two(measured[name]["ap"] if name in measured else None),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    widths[0] = min(widths[0], WIDTH - sum(widths[1:]) - 2 * len(widths[1:]))
    lines = [
        "  ".join([_cut(row[0], widths[0]).ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in cells
    ]
    left = len(ranked) - len(shown)
    return lines + ([f"and {left} more classes in report.json"] if left else [])


def _listed(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _fitting(head: str, cases: Sequence[str]) -> str:
    """The head and as many of the cases as a line holds, one at least."""
    cases = [_plain(case) for case in cases]
    lines = [f"{head}: {_listed(cases, most)}" for most in range(1, len(cases) + 1)]
    return next((line for line in reversed(lines) if len(line) <= WIDTH), _cut(lines[0], WIDTH))


def _plain(name: str) -> str:
    """A name on one line, whatever white space and control characters it holds."""
    return printable(" ".join(name.split()))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
