"""Folders in archives are read where they lie, and compressed tars from one plain copy."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.decode import decode_rgb
from irnet_ray.inputs.folder import read, read_images
from irnet_ray.storage import archives
from irnet_ray.storage.archives import inside
from irnet_ray.storage.files import inside_archive, kind, open_binary, uncompressed, walk
from tests.inputs.formats import png, write
from tests.inputs.test_webdataset import sample, tar
from tests.inputs.test_yolo import yolo


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def packed(folder: Path, name: str, top: str = "") -> Path:
    """All files of a folder in an archive beside it."""
    path = folder.parent / name
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, top + str(file.relative_to(folder)))
        return path
    mode = {"gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}.get(name.rpartition(".")[2], "w")
    with tarfile.open(path, mode) as opened:  # type: ignore[call-overload]
        for file in files:
            opened.add(file, top + str(file.relative_to(folder)))
    return path


ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@pytest.mark.parametrize("top", ["", "photos/", "deep/er/"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_whole_folder_in_an_archive(tmp_path: Path, ending: str, top: str) -> None:
    data = write(tmp_path / "data", "cat/a #1%?.png", "dog/b.png", "notes.txt")
    (data / "notes.txt").write_text("notes")
    path = packed(data, f"p q#{ending}", top)
    reading = read(path, 1)
    rows = reading.table.to_pylist()
    assert [(row["image_id"], row["tags"], row["width"]) for row in rows] == [
        ("cat/a #1%?.png", ["cat"], 20),
        ("dog/b.png", ["dog"], 21),
    ]
    assert [decode_rgb(row["uri"]).shape for row in rows] == [(10, 20, 3), (10, 21, 3)]
    assert reading.why.startswith(f"in p q#{ending} all its images are in 2 folders")
    assert reading.account.left_out.counts == {"not an image": 1} and reading.account.seen == 3
    assert sorted(read_images(path, 1).table["image_id"].to_pylist()) == ["cat/a #1%?.png", "dog/b.png"]


def test_every_format_is_read_from_a_zip(tmp_path: Path) -> None:
    reading = read(packed(yolo(tmp_path / "yolo"), "yolo.zip"), 1)
    assert reading.format == "YOLO" and reading.table["tags"].to_pylist() == [["dog", "cat"], ["cat"], [], []]
    write(tmp_path / "table", "a.png")
    (tmp_path / "table" / "labels.csv").write_text("id,breed\na,pug\n")
    assert read(packed(tmp_path / "table", "table.zip"), 1).table["tags"].to_pylist() == [["pug"]]


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_samples_in_a_compressed_tar(tmp_path: Path, cache: Path, compress: Callable[[bytes], bytes]) -> None:
    ending = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[compress]
    (tmp_path / "shards").mkdir()
    for number in range(2):
        plain = tar(tmp_path / "plain.tar", sample(number))
        (tmp_path / "shards" / f"{number}.tar.{ending}").write_bytes(compress(plain.read_bytes()))
    rows = read(tmp_path / "shards", 1).table.to_pylist()
    assert [row["image_id"] for row in rows] == [f"{n}.tar.{ending}/000{n}.png" for n in range(2)]
    assert [decode_rgb(row["uri"]).shape[1] for row in rows] == [20, 21]
    copies = sorted(cache.rglob("*.tar"))
    assert len(copies) == 2 and not any(str(cache) in row["uri"] for row in rows)
    times = [copy.stat().st_mtime_ns for copy in copies]
    assert read(tmp_path / "shards" / f"1.tar.{ending}", 1).table.num_rows == 1
    assert [copy.stat().st_mtime_ns for copy in sorted(cache.rglob("*.tar"))] == times  # nothing is uncompressed twice


def test_a_changed_tar_is_uncompressed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    for number in range(2):
        path.write_bytes(gzip.compress(tar(tmp_path / "plain.tar", sample(number)).read_bytes()))
        os.utime(path, ns=(number, number))
        assert read(path, 1).table["width"].to_pylist() == [20 + number]


def test_names_of_entries_are_never_paths(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../../cat/a.png", "/etc/dog/b.png", "C:\\x\\dog\\c.png", "__MACOSX/cat/._a.png"):
            archive.writestr(name, png())
    folder = inside(str(tmp_path / "a.zip"))
    assert folder is not None and sorted(walk(folder).files) == ["C:/x/dog/c.png", "cat/a.png", "etc/dog/b.png"]
    before = sorted(tmp_path.rglob("*"))
    assert read(tmp_path / "a.zip", 1).table.num_rows == 3
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.zip", b"no zip", "the archive is damaged"),
        ("a.zip", b"", "the archive is damaged"),
        ("a.tgz", b"no gzip", "the archive is damaged: Not a gzipped file .*; write it again"),
        ("a.tar.gz", gzip.compress(bytes(9000))[:-9], "the archive is damaged"),
        ("a.tar.xz", b"no", "the archive is damaged"),
        ("a.tar.bz2", b"no", "the archive is damaged"),
    ],
)
def test_what_is_no_archive(tmp_path: Path, cache: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / name, 1)
    assert str(tmp_path / name) in str(caught.value)
    assert not [path for path in cache.rglob("*") if path.is_file() and path.name != "lock"]


def test_an_entry_that_cannot_be_read_is_an_image_that_cannot(tmp_path: Path) -> None:
    data = write(tmp_path / "data", "cat/a.png", "dog/b.png")
    path = packed(data, "a.zip")
    whole = bytearray(path.read_bytes())
    at = whole.index(b"dog/b.png") + 20
    whole[at : at + 20] = bytes(20)
    path.write_bytes(bytes(whole))
    assert read(path, 1).table["width"].to_pylist() == [20, None]


def test_a_zip_with_a_password_is_refused(tmp_path: Path) -> None:
    path = packed(write(tmp_path / "data", "cat/a.png", "dog/b.png"), "a.zip")
    whole = bytearray(path.read_bytes())
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = whole.find(signature)
        while at >= 0:
            whole[at + flags] |= 1
            at = whole.find(signature, at + 1)
    path.write_bytes(bytes(whole))
    with pytest.raises(UserError, match=r"a\.zip.* cannot be read: it is encrypted, .*; write it again"):
        read(path, 1)


def test_a_zip_without_tags_is_refused_by_its_own_name(tmp_path: Path) -> None:
    path = packed(write(tmp_path / "data", "images/a.png"), "a.zip")
    with pytest.raises(UserError, match=r"a\.zip has no tags.csv .*it holds 1 image"):
        read(path, 1)


def test_an_archive_is_only_read(tmp_path: Path) -> None:
    folder = inside_archive(str(packed(write(tmp_path / "data", "a.png", "b/c.png"), "a.zip")))
    assert kind(folder) == "folder" and kind(f"{folder}/b") == "folder" and kind(f"{folder}/a.png") == "file"
    assert kind(f"{folder}/x") is None
    with open_binary(f"{folder}/a.png") as stream:
        assert stream.read() == png() and stream.seek(1) == 1 and stream.read(3) == b"PNG"
    with pytest.raises(FileNotFoundError):
        open_binary(f"{folder}/x")


@pytest.mark.parametrize("samples", [True, False])
def test_another_machine_makes_its_own_copy(tmp_path: Path, cache: Path, samples: bool) -> None:
    plain = (
        tar(tmp_path / "plain.tar", sample(0))
        if samples
        else packed(write(tmp_path / "x", "a/1.png", "b/2.png"), "x.tar")
    )
    (tmp_path / "a.tgz").write_bytes(gzip.compress(plain.read_bytes()))
    row = read(tmp_path / "a.tgz", 1).table.to_pylist()[0]
    shutil.rmtree(cache)
    archives._opened.cache_clear()  # what this process knows of it
    assert decode_rgb(row["uri"]).shape == (10, 20, 3)
    assert len(list(cache.rglob("*.tar"))) == 1


def test_a_cache_without_room_is_named(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("irnet_ray.storage.archives.os.replace", full)
    (tmp_path / "a.tgz").write_bytes(gzip.compress(b""))
    with pytest.raises(OSError, match=f"No space left on device, while it was uncompressed into {cache}"):
        uncompressed(str(tmp_path / "a.tgz"))
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["lock"]
