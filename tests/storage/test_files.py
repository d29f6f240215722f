"""Locations, and every way to give images from a store that is no disk: fsspec's in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irnet_ray.errors import UserError
from irnet_ray.inputs.decode import ImageError, decode_rgb
from irnet_ray.inputs.folder import read_folder, read_images
from irnet_ray.storage import files as storage
from tests.inputs.formats import digest, png, write
from tests.inputs.test_coco import content, dump
from tests.inputs.test_manifest import csv, parquet
from tests.inputs.test_voc import devkit
from tests.inputs.test_webdataset import sample, tar

KEYS = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@given(st.lists(KEYS, min_size=1, max_size=3), st.sampled_from(["/data", "s3://bucket/data", "gs://b/d?project=x"]))
def test_a_name_that_is_joined_comes_back(parts: list[str], folder: str) -> None:
    location = storage.join(folder, "/".join(parts))
    assert storage.base_name(location) == parts[-1]
    assert storage.parent(location) == (storage.join(folder, "/".join(parts[:-1])) if parts[:-1] else folder)


def test_locations() -> None:
    assert storage.absolute("s3://bucket/data/?region=x") == "s3://bucket/data?region=x"
    assert storage.absolute("file:///data/a%20b") == "/data/a b"
    assert storage.absolute("a") == os.path.abspath("a") and not storage.is_uri("/data/s3://x")
    assert storage.suffix("s3://bucket/a.TAR?x=y.z") == ".tar"
    assert storage.parent("s3://bucket") == "s3://bucket"
    with pytest.raises(UserError, match="The URI of bucket holds a password") as caught:
        storage.absolute("s3://key:secret@bucket/data")
    assert "secret" not in str(caught.value)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """A store that holds one folder of every kind."""
    local = tmp_path / "local"
    write(local / "tagged", "a#1.png", "images/b c%20?.png", ".thumbs/a.png")
    (local / "tagged" / "tags.csv").write_text("image,tags\na#1.png,dog\nb c%20?.png,cat;dog\n")
    write(local / "classes", "cat/a.png", "dog/b.png")
    devkit(local / "VOCdevkit" / "VOC2012", a=["dog"])
    dump(local / "coco" / "annotations" / "instances_val.json", content())
    write(local / "coco" / "val", "a.png", "b.png")
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
        ("coco/annotations/instances_val.json", {"a.png": (["person"], 20), "b.png": (["dog", "person"], 21)}),
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
    assert read_images(f"{store}/coco/val", 1)["image_id"].to_pylist() == ["a.png", "b.png"]


def test_what_is_gone_from_a_store(store: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode_rgb(f"{store}/nowhere.png")
    assert caught.value.kind == "missing"
    with pytest.raises(UserError, match="nowhere does not exist"):
        read_folder(f"{store}/nowhere", 1)
    with pytest.raises(UserError, match="cannot be read"):
        read_folder("nonsense://bucket/data", 1)
