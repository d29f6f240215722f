"""What `predict` checks before Ray starts, and what names its tables."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from irnet_ray.commands import predict as command
from irnet_ray.commands.predict import Prediction
from irnet_ray.commands.train import student_config
from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read_images
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun
from irnet_ray.stages.student_kinds import KINDS, load_student
from irnet_ray.stages.students import Student
from tests.labelled import labelled_scenes
from tests.no_ray import StartedError

pytest.importorskip("timm")
pytestmark = pytest.mark.usefixtures("no_ray")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_scenes(tmp_path_factory.mktemp("run"), 4)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "images").mkdir()
    for name in ("images/a.jpg", "images/b.png", "c.png"):
        Image.new("RGB", (20, 10)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, out: Path) -> Path:
    folder = Folder(str(tmp_path_factory.mktemp("model")))
    run = FinishedRun.open(out)
    Student(KINDS["deeplab"], student_config(run, KINDS["deeplab"]), ("cat", "dog"), "0").save(folder)
    folder.write("weights.safetensors", b"no weights are read before Ray starts")
    return Path(folder.local_path)


def predict(model: Path, data: Path, out: Path, **named: Any) -> Any:
    return command.predict(model, data, out, console=Console(file=io.StringIO()), **named)


def test_images_without_tags_are_predicted(model: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(StartedError):
        predict(model, photos, tmp_path / "out")


def test_mistakes_in_predicting_are_reported_before_anything_starts(
    model: Path, photos: Path, out: Path, tmp_path: Path
) -> None:
    for named, sentence in (
        ({"shards": 0}, "--shards must be at least 1"),
        ({"limit": 0}, "--limit must be at least 1"),
        ({"workers": 0}, "--workers must be at least 1"),
    ):
        with pytest.raises(UserError, match=sentence):
            predict(model, photos, tmp_path / "out", **named)
    with pytest.raises(UserError, match="No trained student"):
        predict(photos, photos, tmp_path / "out")
    with pytest.raises(UserError, match="does not exist"):
        predict(model, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UserError, match="holds labels of a labeling run"):
        predict(model, photos, out)


def test_ids_of_categories_follow_the_classes_of_the_student(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export of the predictions then has the source's categories, not a second one for each class."""
    made: list[Prediction] = []
    monkeypatch.setattr(command, "_predict", lambda prediction, *_: made.append(prediction))
    content = {
        "images": [{"id": 70, "file_name": "c.png"}],
        "annotations": [{"image_id": 70, "category_id": 18}],
        "categories": [{"id": 18, "name": "Dogs"}, {"id": 17, "name": "cat"}, {"id": 1, "name": "emu"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    printed = io.StringIO()
    (tmp_path / "images").symlink_to(photos)
    command.predict(model, tmp_path / "a.json", tmp_path / "out", console=Console(file=printed))
    assert made[0].version.category_ids == {"dog": 18, "cat": 17, "emu": 1}
    assert "categories taken for classes of the student: Dogs is dog" in printed.getvalue()


def test_the_same_model_and_images_are_the_same_predictions(model: Path, photos: Path, tmp_path: Path) -> None:
    def names(shards: int, limit: int | None = None) -> dict[str, str]:
        table = read_images(photos, shards, limit).table
        folder = Folder(str(model))
        return Prediction(Folder(str(tmp_path)), load_student(folder), folder, table, shards).names

    assert names(2) == names(2)
    assert names(2) != names(3) and names(2)["labels"] != names(2, 1)["labels"]


def test_the_ids_of_untagged_images_are_those_that_tags_would_give_them(photos: Path) -> None:
    table = read_images(photos, 2).table
    assert table["image_id"].to_pylist() == ["a.jpg", "b.png", "c.png"]
    assert table["tags"].to_pylist() == [[], [], []]
    assert [Path(uri).name for uri in table["uri"].to_pylist()] == ["a.jpg", "b.png", "c.png"]


def test_two_images_that_would_share_an_id_are_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.png", "images/a.png"):
        Image.new("RGB", (20, 10)).save(tmp_path / name)
    with pytest.raises(UserError, match=r"a\.png"):
        read_images(tmp_path, 2)


def test_the_weights_and_the_table_are_hashed_once(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = Folder.read
    monkeypatch.setattr(Folder, "read", lambda folder, name: read.append(name) or real(folder, name))
    folder = Folder(str(model))
    student = load_student(folder)
    read.clear()
    made = Prediction(Folder(str(tmp_path)), student, folder, read_images(photos, 2).table, 2)
    assert not made.is_done and made.left == 3 and made.version.id == made.mark
    assert read == ["weights.safetensors"]
