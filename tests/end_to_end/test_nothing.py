"""Images of nothing: without a tag, they teach what is absent, and count like every other image."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

import irnet_ray
from irnet_ray.errors import UserError
from irnet_ray.masks import decode_png
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.runs.run import FinishedRun
from irnet_ray.scenes.generate import generate
from tests.networks.toy_backbone import TOY

SCENES = 14
TAG = "checkered-box"


def write_tags(data: Path, tags: dict[str, str]) -> None:
    (data / "tags.csv").write_text("image,tags\n" + "".join(f"{name},{tag}\n" for name, tag in tags.items()))


def tags_of(data: Path) -> dict[str, str]:
    """The scenes with the one tag or none."""
    lines = (data / "tags.csv").read_text().splitlines()[1:]
    pairs = [line.split(",") for line in lines]
    return {name: TAG if TAG in tags.split(";") else "" for name, tags in pairs}


@pytest.fixture(scope="module")
def plugged() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "toy", TOY)
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = generate(tmp_path_factory.mktemp("nothing") / "data", SCENES, (64, 96))
    write_tags(data, tags_of(data))
    return data


@pytest.fixture(scope="module")
def run(plugged: None, data: Path) -> tuple[FinishedRun, str]:
    """A run of one class, with a student on its labels; and what it printed."""
    printed = io.StringIO()
    made = irnet_ray.label(
        data, data.parent / "out", shards=2, backbone="toy", seeds="correlation", then=["deeplab"], workers=1,
        console=Console(file=printed, width=200),
    )  # fmt: skip
    assert (made.images, made.labels, made.errors) == (SCENES, SCENES, 0)
    return FinishedRun.open(made.out), printed.getvalue()


def test_they_are_counted_and_labelled_as_background(run: tuple[FinishedRun, str], data: Path) -> None:
    finished, printed = run
    empty = {name for name, tag in tags_of(data).items() if not tag}
    assert 0 < len(empty) < SCENES and f"({len(empty)} without a tag)" in printed
    labels = finished.shards("labels").rows
    rows = {row["image_id"]: row for name in labels.files() for row in labels.read_table(name).to_pylist()}
    assert rows.keys() == tags_of(data).keys() and finished.vocabulary == [TAG]
    for name in empty:
        assert rows[name]["instances"] == [] and not decode_png(rows[name]["semantic"]).any()
    overall = json.loads(finished.folder.read("report.json"))["overall"]
    assert (overall["images"], overall["images_without_tag"]) == (SCENES, len(empty))


def test_they_are_exported_and_judged(run: tuple[FinishedRun, str], data: Path, tmp_path: Path) -> None:
    made = irnet_ray.export(run[0].folder.location, "coco", tmp_path / "coco", console=Console(file=io.StringIO()))
    assert made.images == SCENES
    found = irnet_ray.evaluate(run[0].folder.location, data / "truth.json")
    assert found.images == SCENES


def test_relabel_moves_an_image_from_nothing_to_a_tag_and_back(
    run: tuple[FinishedRun, str], data: Path, plugged: None
) -> None:
    tags = tags_of(data)
    first, last = (next(name for name, tag in tags.items() if bool(tag) is tagged) for tagged in (True, False))
    write_tags(data, {**tags, first: "", last: TAG})
    done = irnet_ray.relabel(run[0].folder.location, workers=1, console=Console(file=io.StringIO()))
    assert done.changes["retagged"] == 2 and done.to_compute == 2 and done.labels == SCENES
    labels = FinishedRun.open(done.out).shards("labels").rows
    rows = {row["image_id"]: row for name in labels.files() for row in labels.read_table(name).to_pylist()}
    assert rows[first]["tags"] == [] and rows[first]["instances"] == [] and rows[last]["tags"] == [TAG]


@pytest.mark.parametrize(("tag", "said"), [("", "No image in .* has a tag"), (TAG, "every image has every tag")])
def test_tags_that_teach_nothing_are_refused(tmp_path: Path, tag: str, said: str, plugged: None) -> None:
    data = generate(tmp_path / "data", 3, (64, 96))
    write_tags(data, dict.fromkeys(tags_of(data), tag))
    with pytest.raises(UserError, match=said):
        irnet_ray.label(data, tmp_path / "out", backbone="toy", console=Console(file=io.StringIO()))
