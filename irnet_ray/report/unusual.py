"""What a person should look at in a run: rules that rarely fire on a good run, each with its reason."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

ENOUGH_IMAGES = 5  # of a class; a share of fewer is chance
COVERED = 0.75  # share of labeled pixels; in truth, VOC's classes cover a third of their photos
EMPTY_SHARE = 0.1  # of images without an instance; their tags say that something is there
EMPTY_IMAGES = 3  # one or two images of a small run are not worth a line
MANY_INSTANCES = 5.0  # per image; in truth, photos of VOC's classes have 2.6, and more are mostly fragments
MOSTLY = 0.5  # share of a class's images without an instance of it, from which on the class is hardly learnt
# Times the median over classes of the share that a class covers of its images. In the truth of 131 photos, the classes
# of VOC with enough images are between 0.2 (bottle) and 2.6 (dining table) times the median.
LARGE, SMALL = 3.0, 1 / 6
ENOUGH_CLASSES = 4  # for a median that means something
GROWN = 2.0  # the walk extends a CAM to its object; at twice the area it has leaked into the background
GROWN_SHARE = 0.01  # of the class's images; growth of a smaller label does not matter

Class = dict[str, Any]


def unusual(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Unusual values in the result of `Summary.to_json`, at most one entry per rule.

    An entry has `what`, the rule in words, and `cases`, words on each class concerned, the worst first. The rules that
    concern all classes together share one entry.
    """
    overall = _overall(report["overall"])
    found = [{"what": "overall", "cases": overall}] if overall else []
    classes = {name: one for name, one in report["classes"].items() if one["images"] >= ENOUGH_IMAGES}
    found += _named("no instance in most images of a class", classes, _mostly_empty)
    shares = [one["pixels_share_in_its_images"] for one in classes.values()]
    typical = median(shares) if len(shares) >= ENOUGH_CLASSES else 0.0
    if typical:
        usual = f"the median class, {_percent(typical)} of its images"
        found += _named(f"over {LARGE:g} times {usual}", classes, lambda one: _large(one, typical))
        found += _named(f"under {SMALL:.2f} times {usual}", classes, lambda one: _small(one, typical))
    found += _named(f"label over {GROWN:g} times its CAM", classes, _grown)
    return found


def _overall(overall: Class) -> list[str]:
    found = []
    images = overall["images"]
    # Of an image without a tag no instance is expected. Reports of 0.5.4 do not count such images: there were none.
    untagged = overall.get("images_without_tag", 0)
    empty, tagged = overall["images_without_instance"] - untagged, images - untagged
    if images and overall["pixels_share"] > COVERED:
        found.append(f"{_percent(overall['pixels_share'])} of pixels labelled")
    if empty >= EMPTY_IMAGES and empty > EMPTY_SHARE * tagged:
        found.append(f"no instance in {_percent(empty / tagged)} of {'tagged ' * bool(untagged)}images")
    if images and overall["instances_per_image"] > MANY_INSTANCES:
        found.append(f"{overall['instances_per_image']:.1f} instances per image")
    return found


Rule = Callable[[Class], tuple[float, str] | None]  # how bad it is, and words on it; None if it is fine


def _named(what: str, classes: dict[str, Class], rule: Rule) -> list[dict[str, Any]]:
    hits = [(hit, name) for name, one in classes.items() if (hit := rule(one)) is not None]
    hits.sort(key=lambda entry: (-entry[0][0], entry[1]))
    return [{"what": what, "cases": [f"{name} ({words})" for (_, words), name in hits]}] if hits else []


def _mostly_empty(one: Class) -> tuple[float, str] | None:
    share = one["images_without_instance_share"]
    words = f"{one['images_without_instance']} of {one['images']}"
    return (share, words) if share > MOSTLY else None


def _large(one: Class, typical: float) -> tuple[float, str] | None:
    share = one["pixels_share_in_its_images"]
    return (share, _percent(share)) if share > LARGE * typical else None


def _small(one: Class, typical: float) -> tuple[float, str] | None:
    share = one["pixels_share_in_its_images"]
    return (-share, _percent(share)) if share < SMALL * typical else None


def _grown(one: Class) -> tuple[float, str] | None:
    cam, label = one["cam_share_in_its_images"], one["label_share_in_its_images"]
    if label < GROWN_SHARE or label <= GROWN * cam:
        return None
    return label - cam, f"{_percent(cam)} to {_percent(label)}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
