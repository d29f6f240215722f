"""A run's report as lines for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from irnet_ray.report.classifier import WEAK_AP
from irnet_ray.report.names import named
from irnet_ray.text import count, cut, names, one_line, table

WIDTH = 100  # columns of the report
ROWS = 12  # of its table, without the head
WEAK_NAMED = 8  # tags that the warning after the classifier's training names
HEAD = ["class", "images", "pixels %", "CAM %", "label %", "IoU", "per image", "none %", "quality", "AP"]


def classifier_lines(known: dict[str, Any]) -> list[str]:
    """One or two lines on the result of `known_tags`: how good the classifier is, and which tags are weak."""
    tags = known["tags"]
    if not tags:
        return ["classifier: nothing measured, too few images to hold some out"]
    missing = known["not_measured"]
    rest = f"; {count(missing, 'tag')} could not be measured" if missing else ""
    of = f"{count(len(tags), 'tag')} on {known['held_out']} held-out images"
    lines = [f"classifier: mean AP {known['mean_ap']:.2f} of {of}{rest}"]
    if known["weak"]:
        weak = names([f"{one_line(name)} {tags[name]['ap']:.2f}" for name in known["weak"]], WEAK_NAMED)
        lines.append(
            f"weak tags, AP under {WEAK_AP:g}: {weak}. Masks of these will be poor: IRNet amplifies bad attention maps."
        )
    return lines


def report_lines(report: dict[str, Any]) -> list[str]:
    """The content of report.json in at most 21 lines of at most 100 columns: a head, ROWS, 3 totals and 5 rules."""
    report = named(report, report.get("names", {}))
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
            f"{overall['images']} images{_of_nothing(overall)}"
        )
    if report["errors"]:
        kinds = sorted(report["errors_by_kind"].items(), key=lambda kind: (-kind[1], kind[0]))
        lines.append(_fitting("errors", [f"{one_line(kind)} {images}" for kind, images in kinds]))
    return lines + [_fitting(f"unusual: {entry['what']}", entry["cases"]) for entry in report["unusual"]]


def _of_nothing(overall: dict[str, Any]) -> str:
    untagged = overall.get("images_without_tag", 0)
    return f", {untagged} of them without a tag" if untagged else ""


def _table(classes: dict[str, Any], measured: dict[str, Any]) -> list[str]:
    """The classes with the most images, below a head."""
    ranked = sorted(classes, key=lambda name: (-classes[name]["images"], name))
    shown = ranked if len(ranked) <= ROWS else ranked[: ROWS - 1]
    cells = [HEAD]
    for name in shown:
        one = classes[name]
        shares = ("pixels_share", "cam_share_in_its_images", "label_share_in_its_images")
        cells.append(
            [
                one_line(name),
                str(one["images"]),
                *(_percent(one[share]) for share in shares),
                _two(one["cam_label_iou"]),
                _two(one["instances_per_image"]),
                _percent(one["images_without_instance_share"]),
                _two(one["mean_quality"]),
                _two(measured[name]["ap"] if name in measured else None),
            ]
        )
    left = len(ranked) - len(shown)
    return table(cells, width=WIDTH) + ([f"and {left} more classes in report.json"] if left else [])


def _fitting(head: str, cases: Sequence[str]) -> str:
    """The head and as many of the cases as fit on a line, but at least one."""
    cases = [one_line(case) for case in cases]
    lines = [f"{head}: {names(cases, most)}" for most in range(1, len(cases) + 1)]
    return next((line for line in reversed(lines) if len(line) <= WIDTH), cut(lines[0], WIDTH))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
