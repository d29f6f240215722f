"""The table of input formats: what is recognized and why, in which order, and how a format is added."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from irnet_ray.commands.plan import Plan
from irnet_ray.config.load import Config
from irnet_ray.errors import UserError
from irnet_ray.inputs import formats
from irnet_ray.inputs.folder import read, read_folder, read_images
from irnet_ray.inputs.formats import FORMATS, Format, recognized
from irnet_ray.inputs.listing import TAGS_FILE, Listed, Listing
from irnet_ray.inputs.place import Place
from irnet_ray.runs.folder import Folder
from irnet_ray.storage import files
from irnet_ray.storage.files import open_binary
from irnet_ray.storage.locations import join
from tests.inputs.formats import write
from tests.inputs.test_coco import content, dump
from tests.inputs.test_voc import devkit
from tests.inputs.test_webdataset import sample, tar

DOCS = Path(__file__).parents[2] / "docs" / "inputs.md"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data in every format."""
    place = tmp_path_factory.mktemp("everything")
    write(place / "tagged", "images/a.png")
    (place / "tagged" / "tags.csv").write_text("image,tags\na.png,dog\n")
    write(place / "classes", "cat/a.png", "dog/b.png")
    voc = devkit(place / "VOCdevkit" / "VOC2012", a=["dog"])
    write(voc, "SegmentationClass/a.png")
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    (voc / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    dump(place / "coco" / "annotations" / "instances_val.json", content())
    write(place / "coco" / "val", "a.png", "b.png")
    (place / "classes" / "m.jsonl").write_text('{"path": "cat/a.png", "tags": "cat"}\n')
    (place / "tars").mkdir()
    tar(place / "tars" / "0.tar", sample(0))
    (place / "tars" / "m.parquet").write_bytes(b"")
    (place / "tables").mkdir()
    (place / "tables" / "m.parquet").write_bytes(b"")
    return place


@pytest.mark.parametrize(
    ("where", "name", "why"),
    [
        ("tagged", "tags file", "it holds tags.csv"),
        ("VOCdevkit", "VOC", "it holds JPEGImages and Annotations"),
        ("VOCdevkit/VOC2012/ImageSets/Main/train.txt", "VOC", "it is a list in ImageSets of a VOC devkit"),
        ("tars", "WebDataset", "it holds .tar files and no images"),
        ("tars/0.tar", "WebDataset", "it is a .tar file"),
        ("tars/{0,1}.tar", "WebDataset", "it is a pattern of .tar files"),
        ("tables", "manifest", "it holds .parquet files and no images"),
        ("classes/m.jsonl", "manifest", "it is a .jsonl file"),
        ("coco", "COCO", "it holds annotations/instances_*.json"),
        ("coco/annotations/instances_val.json", "COCO", "it is a .json file"),
        ("classes", "class folders", "all its images are in 2 folders, one for each class"),
    ],
)
def test_a_format_is_recognized_and_says_why(everything: Path, where: str, name: str, why: str) -> None:
    found = recognized(everything / where)
    assert (found.format, found.why) == (FORMATS[name], why)
    assert found.place.location == str(everything / where)


def test_a_folder_is_walked_once(everything: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked, walk = [], files.walk

    def counted(folder: str) -> files.Walked:
        walked.append(folder)
        return walk(folder)

    monkeypatch.setattr(files, "walk", counted)
    for where, folder in (("tagged", "tagged"), ("classes", "classes"), ("tars", "tars")):
        assert read_folder(everything / where, 1).num_rows
        assert walked == [str(everything / folder)]
        walked.clear()
    read_folder(everything / "VOCdevkit", 1)
    assert walked == [str(everything / "VOCdevkit" / "VOC2012")]


def test_a_file_of_no_format_is_refused_with_all_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match="is not a folder, nor a file that lists images") as caught:
        recognized(tmp_path / "notes.txt")
    assert all(row.looks in str(caught.value) for row in FORMATS.values())


def test_the_docs_list_the_formats_in_their_order() -> None:
    rows = re.findall(r"^\| (an? .*?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert [row.replace("`", "") for row in rows] == [row.looks for row in FORMATS.values()]


def test_images_for_prediction_may_be_a_pattern_of_tars(everything: Path) -> None:
    assert read_images(everything / "tars" / "{0..0}.tar", 1).table["image_id"].to_pylist() == ["0.tar/0000.png"]


# A format from outside the package: a file `onehot.csv` with a column for each tag.


def recognize_one_hot(place: Place) -> str | None:
    return "it holds onehot.csv" if place.kind == "folder" and "onehot.csv" in place.files else None


def listed_one_hot(place: Place) -> Listing:
    with open_binary(join(place.location, "onehot.csv")) as stream:
        rows = list(csv.DictReader(io.TextIOWrapper(stream, encoding="utf-8")))
    images = {
        row["image"]: Listed(
            row["image"], [tag for tag, held in row.items() if held == "1"], join(place.location, row["image"])
        )
        for row in rows
    }
    return place.listing(images, {"onehot.csv": TAGS_FILE}, "not listed in onehot.csv", ["the header names the tags"])


ONE_HOT = Format("one-hot", "a folder with onehot.csv", recognize_one_hot, listed_one_hot, must_exist=True)


@pytest.fixture
def one_hot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the new format, which is plugged in before the others."""
    monkeypatch.setattr(formats, "FORMATS", {ONE_HOT.name: ONE_HOT, **FORMATS})
    data = write(tmp_path / "data", "x/a.png", "y/b.png")  # without the new row these are class folders
    (data / "onehot.csv").write_text("image,cat,dog\nx/a.png,1,0\ny/b.png,1,1\n")
    return data


def test_another_format_is_a_row_and_a_module(one_hot: Path, tmp_path: Path) -> None:
    assert recognized(one_hot).why == "it holds onehot.csv"
    images = read_folder(one_hot, 2)
    assert images["image_id"].to_pylist() == ["x/a.png", "y/b.png"]
    assert images["tags"].to_pylist() == [["cat"], ["cat", "dog"]] and images["width"].to_pylist() == [20, 21]
    plan = Plan(Folder(str(tmp_path / "out")), Config.model_validate({"backbone": "lite0"}), images, 2)
    assert plan.vocabulary == ["cat", "dog"] and "labels" in plan.names


def test_another_format_can_demand_that_its_images_are_there(one_hot: Path) -> None:
    (one_hot / "y" / "b.png").unlink()
    with pytest.raises(UserError, match=r"data lists 1 image not found \(.*b.png\): add the files, or delete their"):
        read_folder(one_hot, 2)


def _examples() -> list[tuple[str, ...]]:
    """The examples of tables in the documentation: a header with a row, or a JSON line, and what it is."""
    text = DOCS.read_text(encoding="utf-8").partition("## Tables")[2]
    return [tuple(re.split(r" {2,}", line.strip())) for line in text.split("```")[1].strip().splitlines()]


@pytest.mark.parametrize("example", _examples(), ids=lambda example: example[-1][:20])
def test_the_examples_of_tables_in_the_docs_are_read(example: tuple[str, ...], tmp_path: Path) -> None:
    write(tmp_path, "a.jpg")
    lines = list(example[:-1])
    if lines[0].startswith("{"):
        (tmp_path / "list.jsonl").write_text(lines[0])
    elif len(lines) == 1:  # only the header of Open Images
        (tmp_path / "tags.csv").write_text(f"{lines[0]}\na,dog,1\na,cat,1\n")
    else:
        (tmp_path / "tags.csv").write_text("\n".join(lines) + "\n")
    rows_read = read(tmp_path, 1).table.to_pylist()
    assert [(row["uri"].endswith("/a.jpg"), row["tags"]) for row in rows_read] == [(True, ["dog", "cat"])]
