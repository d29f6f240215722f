"""Rows from outside the package, one in each table of choices, work from images to predictions.

Ray's workers import the package again and do not know these rows. The stages carry what they need.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load

import irnet_ray
from irnet_ray.algorithms.seed_methods import METHODS
from irnet_ray.commands.label import LabelResult
from irnet_ray.masks import decode_attention, decode_cam
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.runs.run import FinishedRun
from irnet_ray.scenes.generate import generate
from irnet_ray.stages.student_kinds import KINDS
from tests.algorithms.toy_method import TOY as METHOD
from tests.networks.toy_backbone import TOY as BACKBONE
from tests.networks.toy_backbone import own_names, toy_weights
from tests.stages.toy_student import TOY as STUDENT

SCENES = 12
QUIET = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def plugged(local_ray: None) -> Iterator[None]:
    """Add a row to each table of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "toy", BACKBONE)
        patch.setitem(METHODS, "sharpened", METHOD)
        patch.setitem(KINDS, "colours", STUDENT)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("plugged") / "data", SCENES, (64, 96))


@pytest.fixture(scope="module")
def run(plugged: None, data: Path) -> FinishedRun:
    """A run with the added backbone and seed method, and a student trained on its labels."""

    def label(*then: str) -> tuple[LabelResult, str]:
        printed = io.StringIO()
        made = irnet_ray.label(
            data,
            data.parent / "out",
            shards=2,
            backbone="toy",
            seeds="sharpened",
            then=then,
            settings=["deeplab.background=keep"],
            workers=1,
            console=Console(file=printed, width=200),
        )
        return made, printed.getvalue()

    first, _ = label()
    assert (first.images, first.labels, first.errors, first.models) == (SCENES, SCENES, 0, ())
    made, printed = label("colours")  # a finished run continues with its student
    assert "everything is done already" in printed
    assert (made.version, made.models) == (first.version, (f"{made.out}/models/colours",))
    return FinishedRun.open(made.out)


def test_a_backbone_brings_its_defaults_and_its_weights(run: FinishedRun) -> None:
    assert (run.config.backbone, run.config.irnet.min_iterations) == ("toy", 6)
    trained = load(run.stage("classifier").read("weights.safetensors"))
    given = own_names(toy_weights())
    # Frozen levels still have the weights of the row; the other levels were trained.
    assert torch.equal(trained["backbone.blocks.0.0.weight"], given["blocks.0.0.weight"])
    assert not torch.equal(trained["backbone.blocks.5.0.weight"], given["blocks.5.0.weight"])


def test_a_seed_method_makes_the_attention(run: FinishedRun) -> None:
    assert run.config.seeds.method == "sharpened"
    seeds = run.shards("seeds")
    rows = [row for name in seeds.rows.files() for row in seeds.rows.read_table(name).to_pylist()]
    pairs = [(decode_cam(row), decode_attention(row)) for row in rows]
    assert len(pairs) == SCENES and any(not np.allclose(cam, attention, atol=0.01) for cam, attention in pairs)
    assert not any(name.startswith("prototypes") for name in run.folder.folder("stages").folders())


def test_a_student_predicts_and_is_evaluated(run: FinishedRun, data: Path) -> None:
    out = data.parent / "predicted"
    made = irnet_ray.predict(f"{run.folder.location}/models/colours", data, out, shards=2, workers=1, console=QUIET)
    assert (made.images, made.predictions, made.errors) == (SCENES, SCENES, 0)
    found = irnet_ray.evaluate(out, data / "truth.json")
    assert "mIoU" in found.table() and "AP50" not in found.table()  # it predicts no instances
