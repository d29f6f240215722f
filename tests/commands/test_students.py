"""The verbs train and predict: what is checked before Ray is thought of, and whose config a student takes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from irnet_ray.commands import students
from irnet_ray.commands.students import Prediction, student_config
from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun
from irnet_ray.stages.students import RECORD, Student
from tests.labelled import labelled_scenes

pytest.importorskip("timm")


class StartedError(Exception):
    pass


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's start raises instead; a test that reaches it has passed every check."""

    def started(address: str | None) -> None:
        raise StartedError(address)

    monkeypatch.setattr("irnet_ray.engine.session.session", started)


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
    Student("deeplab", student_config(run, "deeplab"), ("cat", "dog"), "0").save(folder)
    folder.write("weights.safetensors", b"no weights are read before Ray starts")
    return Path(folder.local_path)


def train(kind: str, labels: Path, **named: Any) -> Any:
    return students.train(kind, labels, console=Console(file=io.StringIO()), **named)


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
def test_a_mistake_is_said_before_anything_starts(
    out: Path, kind: str, named: dict[str, Any], sentence: str | None
) -> None:
    if sentence is None:  # truth is perfect: nothing is left out
        with pytest.raises(StartedError):
            train(kind, out, **named)
        return
    with pytest.raises(UserError, match=sentence):
        train(kind, out, **named)


def test_holding_out_every_image_leaves_nothing_to_learn_from(out: Path) -> None:
    with pytest.raises(UserError, match="Not one label"):
        train("deeplab", out, hold_out=out.parent / "scenes" / "truth.json")


def test_labels_that_are_not_finished_are_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No finished run"):
        train("deeplab", tmp_path)


def test_a_student_takes_the_run_s_config_then_the_file_s_then_single_knobs(out: Path, tmp_path: Path) -> None:
    run = FinishedRun.open(out)
    (tmp_path / "own.yaml").write_text("deeplab: {epochs: 7, crop: 128}\n")
    chosen = student_config(run, "deeplab", tmp_path / "own.yaml", {"crop": 160, "rate": None})
    assert (chosen.deeplab.epochs, chosen.deeplab.crop) == (7, 160)
    assert chosen.deeplab.batch_size == run.version.config["deeplab"]["batch_size"]
    assert chosen.backbone == "lite0"
    # A run of a version that knew no students.
    old = {key: value for key, value in run.version.config.items() if key not in ("deeplab", "mask_rcnn")}
    assert (
        student_config(FinishedRun(run.folder, run.version.with_entries(config=old)), "deeplab").deeplab.batch_size == 8
    )  # that of the small backbone


def predict(model: Path, data: Path, out: Path, **named: Any) -> Any:
    return students.predict(model, data, out, console=Console(file=io.StringIO()), **named)


def test_images_without_tags_are_predicted(model: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(StartedError):
        predict(model, photos, tmp_path / "out")


def test_a_mistake_in_predicting_is_said_before_anything_starts(
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


def test_the_same_model_and_images_are_the_same_predictions(model: Path, photos: Path, tmp_path: Path) -> None:
    from irnet_ray.inputs.folder import read_images

    def names(shards: int, limit: int | None = None) -> dict[str, str]:
        table = read_images(photos, shards, limit)
        folder = Folder(str(model))
        return Prediction(Folder(str(tmp_path)), Student.load(folder), folder, table, shards).names

    assert names(2) == names(2)
    assert names(2) != names(3) and names(2)["labels"] != names(2, 1)["labels"]


def test_the_ids_of_untagged_images_are_those_that_tags_would_give_them(photos: Path) -> None:
    from irnet_ray.inputs.folder import read_images

    table = read_images(photos, 2)
    assert table["image_id"].to_pylist() == ["a.jpg", "b.png", "c.png"]
    assert table["tags"].to_pylist() == [[], [], []]
    assert [Path(uri).name for uri in table["uri"].to_pylist()] == ["a.jpg", "b.png", "c.png"]


def test_two_images_that_would_share_an_id_are_refused(tmp_path: Path) -> None:
    from irnet_ray.inputs.folder import read_images

    (tmp_path / "images").mkdir()
    for name in ("a.png", "images/a.png"):
        Image.new("RGB", (20, 10)).save(tmp_path / name)
    with pytest.raises(UserError, match=r"a\.png"):
        read_images(tmp_path, 2)


def test_a_record_is_plain_json(model: Path) -> None:
    record = json.loads((model / RECORD).read_text())
    assert record["kind"] == "deeplab" and record["vocabulary"] == ["cat", "dog"]
