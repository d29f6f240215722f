"""The table of formats, and a format that is added to it from outside the package."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import irnet_ray
from irnet_ray import cli
from irnet_ray.errors import UserError
from irnet_ray.exports.formats import FORMATS, Format
from irnet_ray.exports.labels import Counts, Labels
from tests.exports.runs import box, image, instance, write_run
from tests.labelled import labelled_scenes


def write_toy(labels: Labels, folder: Path, home: Path, counts: Counts) -> str:
    """One JSON line per image: its number, its split and the areas of its instances by class."""
    with (folder / "toy.jsonl").open("w") as file:
        for labeled in labels.stream(["image_id"]):
            split = "train" if labeled.number % 2 else "val"
            areas = [[labels.numbers[one["class_name"]], one["area"]] for one in labeled.kept]
            file.write(json.dumps([labeled.number, split, areas]) + "\n")
            counts.add(labeled, split)
    return "toy.jsonl"


def check_toy(labels: Labels) -> None:
    """A toy holds at most 9 classes."""
    if len(labels.vocabulary) > 9:
        raise UserError("A toy holds 9 classes.")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fourth format: a module of its own, which this file is, and a row in the table."""
    monkeypatch.setitem(FORMATS, "toy", Format("a toy", write_toy, check_toy))


@pytest.mark.usefixtures("toy")
def test_a_fourth_format_exports_a_labelled_run(tmp_path: Path) -> None:
    run, console = labelled_scenes(tmp_path, count=6), Console(file=io.StringIO())
    done = irnet_ray.export(run, "toy", tmp_path / "new", min_quality=0.5, console=console)
    assert done.path == tmp_path / "new" / "toy.jsonl"
    lines = [json.loads(line) for line in done.path.read_text().splitlines()]
    assert sorted(number for number, _, _ in lines) == [1, 2, 3, 4, 5, 6]
    assert (done.images, done.train, done.val) == (6, 3, 3)
    assert done.annotations == sum(len(areas) for _, _, areas in lines) > 6
    assert f"split     3 to train, 3 to val\nwritten   {done.path}" in done.summary()


@pytest.mark.usefixtures("toy")
def test_the_command_knows_a_fourth_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", [image("a.jpg", [instance(box((6, 8), (0, 0, 6, 3)))])])
    monkeypatch.setattr("sys.argv", ["irnet-ray", "export", str(run), "--format", "toy", "--out", str(tmp_path / "t")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.endswith(f"written   {tmp_path}/t/toy.jsonl\n")
    with pytest.raises(UserError, match="^Unknown format 'png': the formats are coco, voc, yolo, toy.$"):
        irnet_ray.export(run, "png", tmp_path / "other")


@pytest.mark.usefixtures("toy")
def test_a_fourth_format_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [image("a.jpg")], vocabulary=[f"{number}" for number in range(10)])
    with pytest.raises(UserError, match="^A toy holds 9 classes.$"):
        irnet_ray.export(run, "toy", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_importing_the_table_imports_no_format() -> None:
    heavy = "{'numpy', 'pyarrow', 'PIL', 'yaml', 'scipy', 'torch', 'ray'}"
    code = f"import sys, irnet_ray.exports.formats; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
