"""What `train` checks before Ray starts, and which config a student gets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from irnet_ray.commands import train as command
from irnet_ray.commands.train import student_config
from irnet_ray.errors import UserError
from irnet_ray.runs.run import FinishedRun
from irnet_ray.stages.student_kinds import KINDS
from tests.labelled import labelled_scenes
from tests.no_ray import StartedError

pytest.importorskip("timm")
pytestmark = pytest.mark.usefixtures("no_ray")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_scenes(tmp_path_factory.mktemp("run"), 4)


def train(kind: str, labels: Path, **named: Any) -> Any:
    return command.train(kind, labels, console=Console(file=io.StringIO()), **named)


@pytest.mark.parametrize("folder", ["", "labels"])
@pytest.mark.parametrize("kind", ["mask-rcnn", "deeplab"])
def test_labels_are_named_by_their_run_or_by_their_folder(out: Path, folder: str, kind: str) -> None:
    with pytest.raises(StartedError):
        train(kind, out / folder)


@pytest.mark.parametrize(
    ("kind", "named", "sentence"),
    [
        ("yolo", {}, "No student 'yolo': there is mask-rcnn and deeplab"),
        ("deeplab", {"workers": 0}, "--workers must be at least 1"),
        ("deeplab", {"hold_out": "nowhere.json"}, "nowhere.json does not exist"),
        ("deeplab", {"config": "nowhere.yaml"}, "No config file at nowhere.yaml"),
        ("deeplab", {"knobs": {"epochs": 0}}, "'deeplab.epochs'"),
        ("mask-rcnn", {"knobs": {"network": "v2"}}, "Unknown key 'mask_rcnn.network'"),
        ("mask-rcnn", {"knobs": {"background": "drop"}}, "'mask_rcnn.background'"),
        ("mask-rcnn", {"knobs": {"backbone": "resnet51"}}, "Unknown backbone 'resnet51'"),
        ("deeplab", {"knobs": {"network": "deeplabv9"}}, "deeplabv9"),
        ("deeplab", {"knobs": {"weights": "nowhere.pth"}}, "nowhere.pth"),
        ("deeplab", {"knobs": {"background": "skip", "min_score": 1.0, "min_quality": 1.0}}, None),
    ],
)
def test_mistakes_are_reported_before_anything_starts(
    out: Path, kind: str, named: dict[str, Any], sentence: str | None
) -> None:
    if sentence is None:  # truth is perfect: nothing is left out
        with pytest.raises(StartedError):
            train(kind, out, **named)
        return
    with pytest.raises(UserError, match=sentence):
        train(kind, out, **named)


def test_holding_out_every_image_leaves_nothing_to_learn_from(out: Path) -> None:
    with pytest.raises(UserError, match="No label in"):
        train("deeplab", out, hold_out=out.parent / "scenes" / "truth.json")


def test_unfinished_labels_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No finished run"):
        train("deeplab", tmp_path)


def test_a_student_takes_the_run_s_config_then_the_file_s_then_single_knobs(out: Path, tmp_path: Path) -> None:
    run = FinishedRun.open(out)
    (tmp_path / "own.yaml").write_text("deeplab: {epochs: 7, crop: 128}\n")
    chosen = student_config(run, KINDS["deeplab"], tmp_path / "own.yaml", {"crop": 160, "rate": None})
    assert (chosen.deeplab.epochs, chosen.deeplab.crop) == (7, 160)
    assert chosen.deeplab.batch_size == run.version.config["deeplab"]["batch_size"]
    assert chosen.backbone == "lite0"
    # A run of a release without students.
    old = {key: value for key, value in run.version.config.items() if key not in ("deeplab", "mask_rcnn")}
    earlier = FinishedRun(run.folder, run.version.with_entries(config=old))
    assert student_config(earlier, KINDS["deeplab"]).deeplab.batch_size == 8  # the default of the small backbone
