"""The upper bound of a student: what is checked before Ray starts."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from irnet_ray.commands.train import student_config
from irnet_ray.commands.upper_bound import FOLDS, upper_bound_rows
from irnet_ray.errors import UserError
from irnet_ray.evaluation.truth import Truth, load_truth
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun
from irnet_ray.runs.version import Predictor
from irnet_ray.stages.student_kinds import KINDS
from irnet_ray.stages.students import Student
from tests.labelled import labelled_scenes
from tests.no_ray import StartedError

pytest.importorskip("timm")
pytestmark = pytest.mark.usefixtures("no_ray")
COUNT = 8  # images


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return labelled_scenes(tmp_path, COUNT, (64, 64))


@pytest.fixture
def truth(out: Path) -> Truth:
    return load_truth(out.parent / "scenes" / "truth.json")


@pytest.fixture
def made_by(out: Path, tmp_path: Path) -> Predictor:
    """A student that was trained for 40 iterations."""
    folder, run = Folder(str(tmp_path / "model")), FinishedRun.open(out)
    Student(KINDS["deeplab"], student_config(run, KINDS["deeplab"]), tuple(run.vocabulary), "0").save(folder)
    folder.write("weights.safetensors", b"no weights are read before Ray starts")
    folder.write_json("history.json", [{"iteration": 40, "losses": {}}])
    return Predictor("deeplab", "0", folder.location)


def rows(out: Path, made_by: Predictor, truth: Truth) -> list[dict[str, Any]]:
    console = Console(file=io.StringIO())
    return list(upper_bound_rows(FinishedRun.open(out), made_by, truth, console=console))


def test_each_fold_has_a_student_of_its_own_and_the_truth_is_written_before(
    out: Path, made_by: Predictor, truth: Truth
) -> None:
    with pytest.raises(StartedError):
        rows(out, made_by, truth)
    (written,) = (out / "stages").glob("truth-*")
    parts = Folder(str(written)).folder("rows")
    assert len(parts.files()) == FOLDS and parts.count_rows() == COUNT


def test_too_few_images_with_truth_are_refused(out: Path, made_by: Predictor, truth: Truth) -> None:
    one = Truth(dict(list(truth.images.items())[:1]))
    with pytest.raises(UserError, match=r"^An upper bound needs truth of more than 1 images: some in each of 3 folds"):
        rows(out, made_by, one)


def test_a_student_that_is_gone_is_named(out: Path, truth: Truth, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"No trained student in {tmp_path}/gone"):
        rows(out, Predictor("deeplab", "0", str(tmp_path / "gone")), truth)
