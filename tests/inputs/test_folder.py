"""Images with and without tags become the images table."""

import hashlib
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read, read_folder, read_images
from irnet_ray.inputs.formats import FORMATS
from irnet_ray.inputs.listing import Listing
from tests.inputs.formats import png, tagged, write
from tests.inputs.test_coco import content, dump
from tests.inputs.test_voc import devkit
from tests.inputs.test_webdataset import sample, tar

PHOTOS = Path(os.environ.get("IRNET_RAY_PHOTOS") or Path(__file__).parents[3] / "shared" / "photos")


def test_relative_folder_gives_absolute_uris(tmp_path, monkeypatch):
    tagged(tmp_path / "data", ["a.jpg"], "a.jpg,cat\n")
    monkeypatch.chdir(tmp_path)
    assert read_folder(Path("data"), 1)["uri"].to_pylist() == [str(tmp_path / "data/a.jpg")]


def test_a_limit_draws_evenly_over_the_classes(tmp_path):
    names = [f"{name}/{number}.png" for name in ("ape", "bear", "cat", "dog") for number in range(25)]
    write(tmp_path, *names)
    drawn = read_folder(tmp_path, 2, limit=40)["image_id"].to_pylist()
    classes = Counter(name.partition("/")[0] for name in drawn)
    assert len(drawn) == 40 and len(classes) == 4 and min(classes.values()) >= 5
    assert set(read_folder(tmp_path, 3, limit=10)["image_id"].to_pylist()) < set(drawn)  # more of the same
    assert read_folder(tmp_path, 2, limit=999).num_rows == 100
    (tmp_path / "ape" / "0.png").unlink()  # the others stay in their order
    assert set(drawn) - set(read_folder(tmp_path, 2, limit=40)["image_id"].to_pylist()) <= {"ape/0.png"}


def test_files_seen_are_images_and_left_out(tmp_path):
    write(tmp_path, "cat/a.jpg", "cat/a_mask.png", "dog/b.jpg", "dog/.b.jpg", ".cache/c.jpg", "cover.jpg")
    write(tmp_path, "out/scenes/s.png", "out/show.png", "out/stages/labels-0/x.png", "export/images/train/a.jpg")
    write(tmp_path, "voc/JPEGImages/a.jpg", "voc/SegmentationClass/a.png", "voc/SegmentationObject/a.png")
    for name in (
        "cat/notes.txt",
        "out/current.json",
        "export/data.yaml",
        "export/names.csv",
        "export/labels/train/a.txt",
        "voc/labels.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "dog" / "c").write_bytes(png())
    os.mkfifo(tmp_path / "dog" / "pipe")
    (tmp_path / "dog" / "gone.txt").symlink_to("nowhere")
    reading = read(tmp_path, 1)
    assert reading.table["image_id"].to_pylist() == ["cat/a.jpg", "dog/b.jpg", "dog/c"]
    assert (reading.format, reading.why) == (
        "class folders",
        "3 of its 4 images are in 2 folders, one for each class",
    )
    account = reading.account
    files = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert account.seen == len(files) == account.images + account.left_out.total
    assert account.left_out.counts == {
        "a mask beside an image": 1,
        "hidden": 2,
        "an image beside the class folders": 1,
        "part of a run directory of irnet-ray": 4,
        "part of an export": 8,
        "not an image": 2,
        "not a plain file": 1,
    }
    assert account.left_out.examples["a mask beside an image"] == ["cat/a_mask.png"]


@pytest.mark.parametrize(
    ("where", "images", "left_out"),
    [
        ("tags", 2, {"holds the tags": 1, "a mask beside an image": 1, "an image without tags": 2}),
        ("voc", 2, {"holds the tags": 2, "not an image": 1, "a mask beside an image": 1}),
        ("coco/instances.json", 3, {"hidden": 1, "not listed in instances.json": 1}),
        (
            "tars",
            1,
            {"holds the tags": 1, "another image of a sample": 1, "an image without tags": 1, "not an image": 1},
        ),
        ("table.csv", 2, {}),
        ("classes", 2, {"not an image": 1}),
    ],
)
def test_the_account_of_every_format_balances(tmp_path, where, images, left_out):
    write(tmp_path / "tags", "images/a.png", "b.png", "images/masks/a.png", "spare.png", "deep/x.txt/y.gif")
    (tmp_path / "tags" / "tags.csv").write_text("image,tags\na.png,cat\nb.png,dog\n")
    write(devkit(tmp_path / "voc", a=["cat"], b=["dog"]), "SegmentationClass/a.png")
    (tmp_path / "voc" / "JPEGImages" / "notes.md").write_text("")
    dump(tmp_path / "coco" / "instances.json", content())
    write(tmp_path / "coco", "images/a.png", "images/b.png", "images/c.png", "images/other.png", "images/.d.png")
    (tmp_path / "tars").mkdir()
    tar(tmp_path / "tars" / "0.tar", [*sample(0), ("0000.seg.png", png()), ("x.v1.png", png()), ("info.md", b"")])
    (tmp_path / "table.csv").write_text("path,tags\ntags/b.png,cat\ntags/spare.png,dog\n")
    write(tmp_path / "classes", "cat/a.png", "dog/b.png")
    (tmp_path / "classes" / "Thumbs.db").write_bytes(b"")
    account = read(tmp_path / where, 1).account
    assert (account.images, account.left_out.counts) == (images, left_out)
    assert account.seen == images + sum(left_out.values())
    assert all(account.left_out.examples[reason] for reason in left_out)


def test_an_account_that_does_not_balance_is_a_mistake_of_the_format(tmp_path, monkeypatch):
    tagged(tmp_path, ["a.jpg"], "a.jpg,cat\n")
    lossy = replace(FORMATS["tags file"], listed=lambda place: Listing([], seen=1))
    monkeypatch.setitem(FORMATS, "tags file", lossy)
    with pytest.raises(RuntimeError, match="does not balance: 1 seen, 0 images and 0 left out"):
        read(tmp_path, 1)


def test_the_next_run_does_not_read_what_the_last_one_wrote(tmp_path):
    write(tmp_path, "cat/a.png", "dog/b.png")
    ids = read_folder(tmp_path, 1)["image_id"].to_pylist()
    write(tmp_path, "irnet-out/show.png", "irnet-out/stages/labels-0/x.png")
    (tmp_path / "irnet-out" / "config.json").write_text("{}")
    assert (
        read_folder(tmp_path, 1)["image_id"].to_pylist()
        == read_images(tmp_path, 1).table["image_id"].to_pylist()
        == ids
    )
    # The data folder may be the run directory itself.
    write(tmp_path, "show.png", "stages/x.png", "models/deeplab/y.png")
    (tmp_path / "current.json").write_text("{}")
    assert read_folder(tmp_path, 1)["image_id"].to_pylist() == ids


def test_broken_image_has_no_size_and_is_no_error(tmp_path):
    tagged(tmp_path, ["a.jpg"], "a.jpg,cat\nbroken.jpg,cat\n")
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    rows = read_folder(tmp_path, 1).to_pylist()
    assert (rows[1]["width"], rows[1]["height"]) == (None, None)
    assert rows[1]["content"] == hashlib.blake2b(b"nothing", digest_size=16).hexdigest()


def test_wrong_arguments(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        read_folder(tmp_path / "nowhere", 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not a folder"):
        read_folder(tmp_path / "file", 1)
    with pytest.raises(UserError, match="shards must be at least 1, got 0"):
        read_folder(tmp_path, 0)
    with pytest.raises(UserError, match="limit must be at least 1 image, got 0"):
        read_folder(tmp_path, 1, limit=0)


def test_images_without_tags(tmp_path):
    write(tmp_path, "images/b.png", "a.png", "deep/c.png")
    table = read_images(tmp_path, 2).table
    assert table["image_id"].to_pylist() == ["a.png", "b.png", "deep/c.png"] and table["tags"].to_pylist() == [[]] * 3
    write(tmp_path, "b.png")
    with pytest.raises(UserError, match="holds both b.png and images/b.png: rename one of them"):
        read_images(tmp_path, 2)
    (tmp_path / "empty").mkdir()
    for data, message in ((tmp_path / "empty", "holds no images"), (tmp_path / "nowhere", "does not exist")):
        with pytest.raises(UserError, match=message):
            read_images(data, 2)


def test_tags_that_are_there_are_read_for_prediction_too(tmp_path):
    tagged(tmp_path, ["a.jpg"], "a.jpg,cat\n")
    assert read_images(tmp_path, 2).table["tags"].to_pylist() == [["cat"]]


def test_real_photos():
    if not (PHOTOS / "tags.csv").is_file():
        pytest.skip(f"no photos at {PHOTOS}; set IRNET_RAY_PHOTOS")
    table = read_folder(PHOTOS, shards=8)
    assert table.num_rows == 934
    assert len(tables.vocabulary(table)) == 20
    assert table["width"].null_count == 0
    assert max(table["width"].to_pylist() + table["height"].to_pylist()) <= 500
    assert set(table["shard"].to_pylist()) == set(range(8))
