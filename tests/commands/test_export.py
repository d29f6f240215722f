"""Exports: what can be exported, what is refused before a file is written, and what a failed export leaves."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import irnet_ray
from irnet_ray.commands.export import Export, export
from irnet_ray.errors import UserError
from irnet_ray.exports.formats import FORMATS, Format
from tests.exports.runs import box, image, instance, write_run

MASK = box((6, 8), (0, 0, 6, 3))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of 30 images with a good and a poor instance each. The image files do not exist."""
    pair = [instance(MASK, "dog", 0.75, 0.75), instance(MASK, "cat", 0.5, 0.25)]
    return write_run(tmp_path / "run", [image(f"{number}.jpg", pair) for number in range(30)], failed=["broken.jpg"])


def made(*arguments: Any, **named: Any) -> Export:
    return export(*arguments, **named, console=Console(file=io.StringIO()))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_the_package_hands_it_out() -> None:
    assert irnet_ray.export is export


@pytest.mark.parametrize(
    ("format", "path"), [("coco", "instances.json"), ("voc", "VOC"), ("yolo", "data.yaml")]
)  # fmt: skip
def test_each_format_counts_the_same(run: Path, tmp_path: Path, format: Any, path: str) -> None:
    done = made(run, format, tmp_path / "deep" / "new", min_quality=0.5)
    assert done.path == tmp_path / "deep" / "new" / path and done.path.exists()
    assert (done.images, done.annotations, done.classes) == (30, 30, 3)
    assert done.left_out == {"of quality below 0.5": 30} and done.images_without_annotation == 0
    assert done.train + done.val == (0 if format == "coco" else 30)
    assert files(tmp_path / "deep") and not list((tmp_path / "deep").glob(".*"))


def test_the_summary_says_what_is_there_and_what_is_not(run: Path, tmp_path: Path) -> None:
    done = made(run, "yolo", tmp_path / "new", min_quality=0.5, min_score=0.8)
    split = f"split     {done.train} to train, {done.val} to val"
    assert done.summary().splitlines() == [
        "30 images, 0 annotations, 3 classes",
        "left out  30 of score below 0.8",
        "left out  30 of quality below 0.5",
        "empty     30 images without an annotation",
        split,
        f"written   {tmp_path}/new/data.yaml",
    ]
    whole = made(run, "coco", tmp_path / "other").summary().splitlines()
    assert whole == ["30 images, 60 annotations, 3 classes", f"written   {tmp_path}/other/instances.json"]


def test_a_run_may_be_named_by_its_labels(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate([run, str(run / "labels"), f"{run}/labels/", "run", "run/labels"]):
        made(name, "coco", f"new{number}")
        written.append((tmp_path / f"new{number}" / "instances.json").read_bytes())
    assert len(set(written)) == 1 and len(json.loads(written[0])["annotations"]) == 60


def test_an_empty_folder_is_taken_and_a_link_to_one_is_followed(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    assert made(run, "coco", tmp_path / "link").path == tmp_path / "empty" / "instances.json"
    assert (tmp_path / "link").is_symlink() and files(tmp_path / "empty") == ["instances.json"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good and useless runs, and with a folder that is not empty."""
    place = tmp_path_factory.mktemp("place")
    write_run(place / "run", [image("a.jpg")])
    write_run(place / "nothing", [], failed=["a.jpg"])
    write_run(place / "remote", [image("a.jpg", uri="s3://b/a.jpg")])
    write_run(place / "wide", [image("a.jpg")], vocabulary=[f"{n}" for n in range(300)])
    (place / "full").mkdir()
    (place / "full" / "file").write_text("mine")
    return place


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"labels": "absent"}, "No finished run in .*absent"),
        ({"labels": "run/errors"}, "No finished run in .*run/errors"),
        ({"format": "png"}, "^Unknown format 'png': the formats are coco, voc, yolo.$"),
        ({"min_quality": 1.5}, "^--min-quality must be between 0 and 1, got 1.5.$"),
        ({"min_score": -0.1}, "^--min-score must be between 0 and 1, got -0.1.$"),
        ({"min_score": float("nan")}, "^--min-score must be between 0 and 1, got nan.$"),
        ({"out": "full"}, "^full is not empty: name a new folder, or empty this one.$"),
        ({"out": "full/file"}, "^Cannot write to full/file: Not a directory.$"),
        ({"out": "full/file/new"}, "^Cannot write to .*full/file/new: File exists.$"),
        ({"out": "/proc/new/deep"}, "^Cannot write to /proc/new/deep: No such file or directory.$"),
        ({"out": "x" * 300}, "^Cannot write to x*: File name too long.$"),
        ({"labels": "nothing"}, "^The run in .*nothing has no labels to export: its errors table says why.$"),
        ({"labels": "remote", "format": "voc"}, "^1 of the images are not local files .*s3://b/a.jpg"),
        ({"labels": "remote", "format": "yolo"}, "^1 of the images are not local files .*s3://b/a.jpg"),
        ({"labels": "wide", "format": "voc"}, "^VOC's PNGs can hold 254 classes, and the run has 300"),
    ],
)
def test_mistakes_end_in_a_sentence_before_anything_is_written(
    place: Path, monkeypatch: pytest.MonkeyPatch, named: dict[str, Any], said: str
) -> None:
    monkeypatch.chdir(place)
    before = files(place)
    with pytest.raises(UserError, match=said):
        made(**{"labels": "run", "format": "coco", "out": "new", **named})
    assert files(place) == before


def test_coco_takes_remote_images(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [image("a.jpg", [instance(MASK)], uri="s3://b/a.jpg")])
    assert made(run, "coco", tmp_path / "new").annotations == 1


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_fails_leaves_nothing(tmp_path: Path, format: Any) -> None:
    good = [image(f"{number}.jpg", [instance(MASK)]) for number in range(5)]
    broken = image("z.jpg", [{**instance(MASK), "class_name": "of no vocabulary", "rle": "not one"}])
    run = write_run(tmp_path / "run", [*good, broken], shards=1)
    before = files(tmp_path)
    with pytest.raises(UserError, match="'of no vocabulary', which the run's current.json does not name"):
        made(run, format, tmp_path / "new")
    assert files(tmp_path) == before


def test_a_folder_filled_meanwhile_is_left_alone(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: Any) -> str:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "mine").touch()
        return "mine"

    monkeypatch.setitem(FORMATS, "coco", Format("", fill))
    with pytest.raises(OSError, match="not empty"):
        made(run, "coco", tmp_path / "new")
    assert files(tmp_path / "new") == ["mine"] and not list(tmp_path.glob(".*"))
