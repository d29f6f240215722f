"""Counts at many thresholds equal those of the stages, run with each threshold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from irnet_ray.algorithms.relations import confident_map
from irnet_ray.commands.plan import Plan
from irnet_ray.evaluation.average_precision import Prediction
from irnet_ray.evaluation.objectives import LabelCounts, count_confident, count_labels
from irnet_ray.evaluation.truth import TruthImage, load_truth, semantic_map
from irnet_ray.masks import decode_cam, decode_png, encode_cam
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.runs.folder import Folder
from irnet_ray.stages import labels
from irnet_ray.stages.images import load_image, resize_map
from irnet_ray.stages.thresholds import Grid, measure

PAIRS = [(0.2, 0.05), (0.3, 0.1), (0.6, 0.1)]
BACKGROUNDS = [(0.1,), (0.25,), (0.6,)]


def attended(plan: Plan, size: tuple[int, int]) -> tuple[dict[str, Any], TruthImage]:
    """The row of an image with several tags, with attention in blocks of random strength, and the image's truth."""
    row = next(row for row in plan.table.to_pylist() if len(row["tags"]) > 1)
    truth = load_truth(Path(row["uri"]).parents[1] / "truth.json").images[row["image_id"]]
    height, width = size
    strength = np.random.default_rng(2).random((len(row["tags"]), 3, 4)) ** 6
    cam = strength.repeat(height // 12, 1).repeat(width // 16, 2)
    ids = [plan.vocabulary.index(tag) for tag in row["tags"]]
    return {**row, "class_ids": ids, **encode_cam(cam), "attention": None}, truth


@pytest.mark.parametrize(("max_side", "size"), [(1280, (96, 128)), (64, (48, 64))])
def test_counts_equal_those_of_the_stages(
    make_plan: Callable[..., Plan], plan: Plan, irnet: Folder, max_side: int, size: tuple[int, int]
) -> None:
    config = make_plan(max_side=max_side).config
    row, truth = attended(plan, size)
    # One tag is not among the truth's classes: its pixels are always wrong.
    numbers = {name: n for n, name in enumerate(sorted({i.class_name for i in truth.instances}), start=1)}
    row["tags"] = [*row["tags"][:-1], "unheard of"]
    class_of = np.array([0, *(numbers.get(tag, len(numbers) + 1) for tag in row["tags"])])
    found = measure(config, BACKBONES["lite0"], irnet, Grid(PAIRS, BACKGROUNDS, numbers), row, truth)

    image = load_image(row["uri"], max_side)
    assert image.shape[:2] == size
    true = semantic_map(truth.instances, numbers, (96, 128))
    full = upsampled(decode_cam(row), size)
    for pair in PAIRS:
        expected = count_confident(
            confident_map(image, full, foreground=pair[0], background=pair[1]), resize_map(true, size), class_of[1:]
        )
        assert np.abs(found.seeds[pair] - expected).max() <= 2
    assert len({str(counts) for counts in found.seeds.values()}) == len(PAIRS)

    for (background,) in BACKGROUNDS:
        other = config.model_copy(update={"labels": config.labels.model_copy(update={"background": background})})
        stage = labels.stage(other, plan.shards("images"), plan.shards("seeds"), irnet, "0123")
        made = stage.finish(row, stage.network(False)(row, image))
        instances = [
            Prediction(row["image_id"], i["class_name"], i["score"], {"size": [96, 128], "counts": i["rle"].encode()})
            for i in made["instances"]
        ]
        semantic = class_of[decode_png(made["semantic"])]
        expected_labels = count_labels(instances, truth.instances, semantic, true, len(numbers) + 2)
        made_labels = found.labels[background,]
        assert made_labels.instances == expected_labels.instances
        assert np.array_equal(pixels(made_labels), pixels(expected_labels))
    assert len({str(pixels(counts)) for counts in found.labels.values()}) == len(BACKGROUNDS)
    assert config.labels.background == 0.25


def pixels(counts: LabelCounts) -> np.ndarray:
    """Right, predicted and true pixels of each class."""
    return np.stack([counts.pixels.intersection, counts.pixels.predicted, counts.pixels.truth])


def upsampled(cam: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear in numpy, as OpenCV does it: each pixel lies between the centres of its two nearest cells."""
    for axis, length in ((1, size[0]), (2, size[1])):
        cells = cam.shape[axis]
        place = np.clip((np.arange(length) + 0.5) / 4 - 0.5, 0, cells - 1)
        low = np.minimum(place.astype(int), max(cells - 2, 0))
        share = (place - low).reshape([-1 if a == axis else 1 for a in range(3)])
        cam = cam.take(low, axis) * (1 - share) + cam.take(np.minimum(low + 1, cells - 1), axis) * share
    return cam.astype(np.float32)


def test_an_image_without_tags_is_background_everywhere(plan: Plan, irnet: Folder) -> None:
    row, truth = attended(plan, (96, 128))
    row |= {"tags": [], "class_ids": [], **encode_cam(np.zeros((0, 24, 32)))}
    numbers = {name: n for n, name in enumerate(sorted({i.class_name for i in truth.instances}), start=1)}
    found = measure(plan.config, BACKBONES["lite0"], irnet, Grid(PAIRS, BACKGROUNDS, numbers), row, truth)
    covered = int((semantic_map(truth.instances, numbers, (96, 128)) > 0).sum())
    for counts in found.seeds.values():
        assert counts.tolist() == [[0, 0, covered], [96 * 128 - covered, 96 * 128, 96 * 128 - covered]]
    assert not any(any(counts.instances.verdicts.values()) for counts in found.labels.values())
