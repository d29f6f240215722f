"""Images with and without tags become the images table."""

import hashlib
import os
from pathlib import Path

import pytest

from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read_folder, read_images
from tests.inputs.formats import tagged, write

PHOTOS = Path(os.environ.get("IRNET_RAY_PHOTOS") or Path(__file__).parents[3] / "shared" / "photos")


def test_relative_folder_gives_absolute_uris(tmp_path, monkeypatch):
    tagged(tmp_path / "data", ["a.jpg"], "a.jpg,cat\n")
    monkeypatch.chdir(tmp_path)
    assert read_folder(Path("data"), 1)["uri"].to_pylist() == [str(tmp_path / "data/a.jpg")]


def test_limit_takes_the_first_by_id(tmp_path):
    tagged(tmp_path, ["a.jpg", "b.jpg", "c.jpg"], "c.jpg,cat\na.jpg,cat\nb.jpg,cat\n")
    assert read_folder(tmp_path, 2, limit=2)["image_id"].to_pylist() == ["a.jpg", "b.jpg"]
    assert read_folder(tmp_path, 2, limit=9).num_rows == 3


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
