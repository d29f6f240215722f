"""A backbone that is only a row from outside labels images and carries students, in processes that do not know it."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load

import irnet_ray
from irnet_ray.config.load import load_config
from irnet_ray.errors import UserError
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun
from irnet_ray.scenes.generate import generate
from irnet_ray.stages.deeplab import DeepLabTask
from irnet_ray.stages.label_rows import LabelRows
from irnet_ray.stages.mask_rcnn import MaskRCNNTask
from irnet_ray.stages.students import Student
from tests.networks.toy_backbone import TOY, own_names, toy_weights

SCENES = 12


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row in the table of this process. Ray's workers import the table without it."""
    monkeypatch.setitem(BACKBONES, "toy", TOY)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.usefixtures("plugged")
def test_the_whole_pipeline_runs_on_it(tmp_path: Path) -> None:
    data = generate(tmp_path / "data", SCENES, (64, 96))
    console = Console(file=io.StringIO())
    made = irnet_ray.label(data, tmp_path / "out", shards=2, backbone="toy", workers=1, console=console)
    assert made.labels + made.errors == made.images == SCENES
    assert not made.errors
    run = FinishedRun.open(made.out)
    assert (run.config.backbone, run.config.irnet.min_iterations) == ("toy", 6)  # its own defaults
    trained = load(run.stage("classifier").read("weights.safetensors"))
    given = own_names(toy_weights())
    # Frozen levels still hold the weights that the row gave; the others have learnt.
    assert torch.equal(trained["backbone.blocks.0.0.weight"], given["blocks.0.0.weight"])
    assert not torch.equal(trained["backbone.blocks.5.0.weight"], given["blocks.5.0.weight"])


@pytest.mark.parametrize(
    ("kind", "task"), [("deeplab", DeepLabTask), ("mask-rcnn", MaskRCNNTask)], ids=["deeplab", "mask-rcnn"]
)
def test_a_student_on_it_is_built_where_its_name_is_unknown(
    kind: str, task: Callable[[Student, LabelRows], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as here:
        here.setitem(BACKBONES, "toy", TOY)
        sent = pickle.dumps(Student(kind, load_config(None, {"backbone": "toy"}), ("cat", "dog"), "0"))
    student = pickle.loads(sent)
    model = task(student, LabelRows.of(student.knobs, Folder("none"), [])).model
    body = model.backbone if kind == "deeplab" else model.backbone.body
    given = own_names(toy_weights())
    assert {name.removeprefix("network."): tensor for name, tensor in body.state_dict().items()}.keys() == given.keys()
    assert all(torch.equal(tensor, given[name.removeprefix("network.")]) for name, tensor in body.state_dict().items())


def test_without_the_row_its_name_is_unknown() -> None:
    with pytest.raises(UserError, match="there is no backbone of that name, but lite0, resnet50"):
        load_config(None, {"backbone": "toy"})
