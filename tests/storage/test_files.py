"""Files on a disk, and every input format in a store that is not a disk: fsspec's in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.decode import ImageError, decode_rgb
from irnet_ray.inputs.folder import read_folder, read_images
from irnet_ray.storage import files
from tests.inputs.formats import digest, png, write
from tests.inputs.test_coco import content, dump
from tests.inputs.test_manifest import csv, parquet
from tests.inputs.test_voc import devkit
from tests.inputs.test_webdataset import sample, tar


def test_a_local_file_is_kept_apart_from_folders_and_pipes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12")
    os.mkfifo(tmp_path / "pipe")
    found = [files.kind(str(tmp_path / name)) for name in ("file", ".", "pipe", "gone", "file/below", "x" * 300)]
    assert found == ["file", "folder", None, None, None, None]
    assert files.stamp(str(tmp_path / "file"))[1] == 2
    with pytest.raises(UserError, match="cannot be read"):
        files.kind(str(tmp_path / "a\0b"))


def test_a_walk_lists_each_folder_once(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "deep/er/b.png", ".hidden/c.png", "deep/.d.png")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    found = files.walk(str(tmp_path))
    assert sorted(found.files) == ["a.png", "deep/er/b.png"] and found.lost == ["gone.png"]
    assert sorted(found.hidden) == [".hidden/c.png", "deep/.d.png"] and found.odd == ["pipe"]
    assert files.folders(str(tmp_path)) == [".hidden", "deep"]
    with pytest.raises(UserError, match="nowhere cannot be read: No such file"):
        files.walk(str(tmp_path / "nowhere"))


def test_a_stored_file_is_read_like_a_local_one(store: str, tmp_path: Path) -> None:
    name = "bytes/a.parquet"
    with files.open_binary(f"{store}/{name}") as stored, files.open_binary(str(tmp_path / "local" / name)) as local:
        for offset, whence, size in [(0, 0, 4), (3, 1, 7), (-8, 2, 99), (9, 0, 0), (10**9, 0, 5), (0, 0, -1)]:
            assert stored.seek(offset, whence) == local.seek(offset, whence)
            assert stored.read(size) == local.read(size) and stored.tell() == local.tell()
        with pytest.raises((OSError, ValueError)):
            stored.seek(-1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """A store that holds one folder of every kind."""
    local = tmp_path / "local"
    write(local / "tagged", "a#1.png", "images/b c%20?.png", ".thumbs/a.png")
    (local / "tagged" / "tags.csv").write_text("image,tags\na#1.png,dog\nb c%20?.png,cat;dog\n")
    write(local / "classes", "cat/a.png", "dog/b.png")
    devkit(local / "VOCdevkit" / "VOC2012", a=["dog"])
    dump(local / "coco" / "annotations" / "instances_val.json", content())
    write(local / "coco" / "val", "a.png", "b.png", "c.png")
    csv(local / "classes", "uri,tags\ncat/a.png,cat\n")
    parquet(local / "bytes" / "a.parquet", {"bytes": [png(3), png(4)], "tags": ["dog", "cat"]}, row_group_size=1)
    (local / "tars").mkdir()
    for number in range(2):
        tar(local / "tars" / f"{number}.tar", sample(number))
    memory, root = pafs.FileSystem.from_uri(f"fsspec+memory://{tmp_path.name}")
    pafs.copy_files(str(local), root, pafs.LocalFileSystem(), memory)
    yield f"fsspec+memory://{tmp_path.name}"
    memory.delete_dir(root)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        ("tagged", {"a#1.png": (["dog"], 20), "b c%20?.png": (["cat", "dog"], 21)}),
        ("classes", {"cat/a.png": (["cat"], 20), "dog/b.png": (["dog"], 21)}),
        ("classes/manifest.csv", {"cat/a.png": (["cat"], 20)}),
        ("VOCdevkit", {"a.jpg": (["dog"], 20)}),
        (
            "coco/annotations/instances_val.json",
            {"a.png": (["person"], 20), "b.png": (["dog", "person"], 21), "c.png": ([], 22)},
        ),
        ("bytes", {"a.parquet/00000001": (["dog"], 23), "a.parquet/00000002": (["cat"], 24)}),
        ("tars", {"0.tar/0000.png": (["dog"], 20), "1.tar/0001.png": (["dog"], 21)}),
        ("tars/{0..1}.tar", {"0.tar/0000.png": (["dog"], 20), "1.tar/0001.png": (["dog"], 21)}),
    ],
)
def test_every_kind_is_read_from_a_store(store: str, where: str, found: dict[str, tuple[list[str], int]]) -> None:
    rows = read_folder(f"{store}/{where}", 2).to_pylist()
    assert {row["image_id"]: (row["tags"], row["width"]) for row in rows} == found
    for row in rows:
        assert decode_rgb(row["uri"]).shape == (10, row["width"], 3)
        assert row["content"] == digest(png(row["width"] - 20))


def test_images_of_a_store_need_no_tags_for_prediction(store: str) -> None:
    assert read_images(f"{store}/coco/val", 1).table["image_id"].to_pylist() == ["a.png", "b.png", "c.png"]


def test_what_is_gone_from_a_store(store: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_rgb(f"{store}/nowhere.png")
    assert caught.value.kind == "missing"
    with pytest.raises(UserError, match="nowhere does not exist"):
        read_folder(f"{store}/nowhere", 1)
    with pytest.raises(UserError, match="cannot be read"):
        read_folder("nonsense://bucket/data", 1)
