"""Mistakes end in one sentence and exit code 2 before anything is computed. Help does not import torch and Ray."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import irnet_ray
from irnet_ray import cli
from tests.end_to_end.conftest import Run
from tests.end_to_end.conftest import irnet_ray as command


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A correct data folder of two images."""
    folder = tmp_path / "photos"
    (folder / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 64), (9, 9, 9)).save(folder / "images" / name)
    (folder / "tags.csv").write_text("image,tags\na.png,cat\nb.png,dog;cat\n")
    return folder


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused: exit code 2, one line on standard error, no Ray. Returns the line."""

    def main(*arguments: str | Path) -> str:
        def started(*_: object, **__: object) -> None:
            raise AssertionError("Ray was started")

        monkeypatch.setattr("irnet_ray.engine.session.session", started)
        monkeypatch.setattr(sys, "argv", ["irnet-ray", *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr().err
        assert ended.value.code == 2, said
        assert said.startswith("irnet-ray: ") and said.endswith(".\n") and said.count("\n") == 1, said
        return said

    return main


def label(data: Path, *more: str | Path) -> tuple[str | Path, ...]:
    return ("label", "--data", data, "--backbone", "lite0", *more)


def test_a_missing_folder(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "does not exist" in refused(*label(tmp_path / "absent"))


def test_an_empty_folder(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no images" in refused(*label(tmp_path / "empty"))


def test_a_missing_column(refused: Callable[..., str], photos: Path) -> None:
    (photos / "tags.csv").write_text("image,width\na.png,64\n")
    assert "must have one column tags" in refused(*label(photos))


def test_no_tags_file(refused: Callable[..., str], photos: Path) -> None:
    (photos / "tags.csv").unlink()
    assert "has no tags.csv" in refused(*label(photos))


def test_tags_for_missing_files(refused: Callable[..., str], photos: Path) -> None:
    (photos / "images" / "a.png").unlink()
    assert "gives tags for 1 file not found" in refused(*label(photos))


def test_files_without_tags(refused: Callable[..., str], photos: Path) -> None:
    shutil.copy(photos / "images" / "a.png", photos / "images" / "c.png")
    said = refused(*label(photos))
    assert "image files without tags (1: images/c.png): list them" in said and "--accept untagged" in said


def test_no_image_with_a_readable_header(refused: Callable[..., str], photos: Path) -> None:
    for name in ("a.png", "b.png"):
        (photos / "images" / name).write_bytes(b"no image")
    assert f"None of the 2 image files in {photos} has a readable header: try to open one" in refused(*label(photos))


def test_an_unknown_config_key(refused: Callable[..., str], photos: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("irnet: {epoch: 3}\n")
    assert "Unknown key 'irnet.epoch'" in refused(*label(photos, "--config", tmp_path / "run.yaml"))
    assert "No config file" in refused(*label(photos, "--config", tmp_path / "absent.yaml"))
    assert "Unknown key 'irnet.epoch'" in refused("config", "--config", tmp_path / "run.yaml")


@pytest.mark.parametrize("option", ["--shards", "--limit", "--workers"])
@pytest.mark.parametrize("value", ["0", "-3"])
def test_counts_below_one(refused: Callable[..., str], photos: Path, option: str, value: str) -> None:
    said = refused(*label(photos, option, value))
    assert "at least 1" in said and value in said


def test_an_unknown_backbone(refused: Callable[..., str], photos: Path) -> None:
    said = refused("label", "--data", photos, "--backbone", "vgg16")
    assert "'backbone'" in said and "lite0, resnet50" in said and "'vgg16'" in said


def test_missing_weights_and_weights_of_another_network(
    refused: Callable[..., str], photos: Path, tmp_path: Path
) -> None:
    import torch

    assert "No weights file at" in refused(*label(photos, "--weights", tmp_path / "absent.pth"))
    torch.save({"w": torch.zeros(1)}, tmp_path / "other.pth")
    assert "weights of another network" in refused(*label(photos, "--weights", tmp_path / "other.pth"))
    (tmp_path / "text.pth").write_text("hello")
    assert "cannot be read as weights" in refused(*label(photos, "--weights", tmp_path / "text.pth"))


def test_an_output_folder_that_is_a_file(refused: Callable[..., str], photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "Cannot write to the output folder" in refused(*label(photos, "--out", tmp_path / "file"))
    assert "Cannot write to the output folder" in refused(*label(photos, "--out", tmp_path / "file" / "below"))


def test_a_run_that_never_finished(refused: Callable[..., str], tmp_path: Path) -> None:
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    (tmp_path / "out").mkdir()
    for out in (tmp_path / "out", tmp_path / "absent"):
        assert "No finished run" in refused("show", out)
    truth.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}],
                "annotations": [],
                "categories": [{"id": 1, "name": "cat"}],
            }
        )
    )
    assert "No finished run" in refused("evaluate", tmp_path / "out", "--truth", truth)


def test_missing_truth(refused: Callable[..., str], run: Run, tmp_path: Path) -> None:
    assert str(tmp_path / "absent.json") in refused("evaluate", run.out, "--truth", tmp_path / "absent.json")


def test_pictures_of_images_that_are_not_in_the_run(refused: Callable[..., str], run: Run) -> None:
    assert "'nobody.png': the run has no such image" in refused("show", run.out, "--image", "nobody.png")
    assert "'broken.jpg': it is in the errors table" in refused("show", run.out, "--image", "broken.jpg")
    assert "at least 1" in refused("show", run.out, "--limit", "0")
    assert "Cannot write" in refused("show", run.out, "--limit", "1", "--to", run.out / "absent" / "x.png")
    assert "Cannot write" in refused("show", run.out, "--limit", "1", "--to", run.out / "x.unknown")


def test_a_mistake_at_the_terminal_from_end_to_end(tmp_path: Path) -> None:
    done = command("label", "--data", tmp_path / "absent", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert command("label", "--nonsense").returncode == 2
    assert command("nonsense").returncode == 2


def test_figures_are_written_to_the_given_file(run: Run, tmp_path: Path) -> None:
    done = command("evaluate", run.out, "--truth", run.data / "truth.json", "--json", tmp_path / "figures.json")
    assert done.returncode == 0, done.stderr
    assert "labels" in done.stdout and "CAM" in done.stdout and "mIoU" in done.stdout
    assert set(json.loads((tmp_path / "figures.json").read_text()))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["label", "--help"], ["config"]])
def test_help_and_version_import_neither_torch_nor_ray(arguments: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        "late = {'torch', 'torchvision', 'ray', 'pandas'}\n"
        "atexit.register(lambda: print(*(late & set(sys.modules)), file=sys.stderr))\n"
        "from irnet_ray.cli import main\n"
        "main()\n"
    )
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "dumb"}
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr.split()) == (0, [])
    if arguments == ["--version"]:
        assert done.stdout == f"irnet-ray {irnet_ray.__version__}\n"
    elif arguments == ["--help"]:
        assert all(verb in done.stdout for verb in ("label", "evaluate", "show", "config"))
