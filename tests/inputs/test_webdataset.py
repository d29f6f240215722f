import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.decode import decode_rgb
from irnet_ray.inputs.folder import read, read_folder
from irnet_ray.inputs.webdataset import expand
from tests.inputs.formats import digest, png, write


def tar(path: Path, entries: list[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as opened:
        for name, data in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            opened.addfile(entry, io.BytesIO(data))
    return path


def sample(number: int, tags: bytes = b"dog", extension: str = "txt") -> list[tuple[str, bytes]]:
    return [(f"{number:04d}.png", png(number)), (f"{number:04d}.{extension}", tags)]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_images_stay_in_the_tar(tmp_path: Path, form: int) -> None:
    path = tar(tmp_path / "a#1:2.tar", [*sample(0), *sample(1, b"dog;cat", "cls")], form)
    rows = read_folder(path, 2).to_pylist()
    assert [(row["image_id"], row["tags"]) for row in rows] == [
        ("a#1:2.tar/0000.png", ["dog"]),
        ("a#1:2.tar/0001.png", ["dog", "cat"]),
    ]
    for number, row in enumerate(rows):
        assert row["uri"].startswith(f"tar+file://{path}#") and row["content"] == digest(png(number))
        assert (row["width"], row["height"]) == (20 + number, 10)
        assert np.array_equal(decode_rgb(row["uri"])[0, 0], (number, 100, 200))


@pytest.mark.parametrize(
    ("extension", "text", "tags"),
    [
        ("txt", " dog ;cat\n", ["dog", "cat"]),
        ("cls", "417\n", ["417"]),
        ("json", json.dumps({"tags": ["dog", "cat", "dog"], "width": 3}), ["dog", "cat"]),
        ("json", json.dumps({"tags": "dog;cat"}), ["dog", "cat"]),
        ("json", json.dumps(["dog"]), ["dog"]),
    ],
)
def test_ways_to_write_tags(tmp_path: Path, extension: str, text: str, tags: list[str]) -> None:
    path = tar(tmp_path / "a.tar", sample(0, text.encode(), extension))
    assert read_folder(path, 1)["tags"].to_pylist() == [tags]


def test_json_without_tags_leaves_them_to_the_others(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "a.tar", [*sample(0, b'{"width": 3}', "json"), ("0000.cls", b"dog"), ("0000.seg.png", png(9))]
    )
    assert read_folder(path, 1)["tags"].to_pylist() == [["dog"]]


def test_names_with_several_dots_are_kept_and_a_caption_is_not_read(tmp_path: Path) -> None:
    entries = [
        ("x/img.v1.png", png(0)),
        ("x/img.v1.json", b'{"tags": ["dog"]}'),
        ("img.v2.rgb.png", png(1)),  # WebDataset's key is img
        ("img.cls", b"cat"),
        ("0001", png(2)),
        ("0001.txt", b""),
        ("0002.png", png(3)),
        ("0002.txt", b"a dog on the grass"),
        ("0002.json", b'{"caption": "a dog on the grass"}'),
    ]
    reading = read(tar(tmp_path / "a.tar", entries), 1)
    tags = dict(zip(*(reading.table[name].to_pylist() for name in ("image_id", "tags")), strict=True))
    assert tags == {"a.tar/x/img.v1.png": ["dog"], "a.tar/img.v2.rgb.png": ["cat"], "a.tar/0001": []}
    assert reading.account.left_out.counts == {"holds the tags": 5, "an image without tags": 1}
    two = [("a.left.png", png()), ("a.right.png", png()), ("a.cls", b"dog")]
    with pytest.raises(UserError, match=r"two images of a \(a.left.png, a.right.png\): keep one"):
        read(tar(tmp_path / "b.tar", two), 1)


def test_names_of_entries_are_data(tmp_path: Path) -> None:
    names = ["/etc/passwd", "../../a", "x/./../y"]
    entries = [entry for name in names for entry in ((f"{name}.png", png()), (f"{name}.txt", b"dog"))]
    before = sorted(tmp_path.rglob("*"))
    path = tar(tmp_path / "a.tar", entries)
    rows = read_folder(path, 1).to_pylist()
    assert {row["image_id"] for row in rows} == {f"a.tar/{name}.png" for name in names}
    assert all(row["uri"].startswith(f"tar+file://{path}#") and row["width"] == 20 for row in rows)
    assert sorted(tmp_path.rglob("*")) == [*before, path]


def test_links_devices_and_folders_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as opened:
        for number, kind in enumerate(
            (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)
        ):
            entry = tarfile.TarInfo(f"{number}.png")
            entry.type, entry.linkname = kind, "/etc/passwd"
            opened.addfile(entry)
        for name, data in sample(7):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            opened.addfile(entry, io.BytesIO(data))
    assert read_folder(path, 1)["image_id"].to_pylist() == ["a.tar/0007.png"]


def test_folders_and_braces_of_tars(tmp_path: Path) -> None:
    for number in range(3):
        tar(tmp_path / f"train-00{number}.tar", sample(number % 2))
    ids = [f"train-00{number}.tar/000{number % 2}.png" for number in range(3)]
    assert read_folder(tmp_path, 1)["image_id"].to_pylist() == ids
    assert read_folder(f"{tmp_path}/train-{{000..001}}.tar", 1)["image_id"].to_pylist() == ids[:2]
    assert read_folder(f"{tmp_path}/train-{{000,002}}.tar", 1)["image_id"].to_pylist() == [ids[0], ids[2]]
    with pytest.raises(UserError, match=r"train-003.tar does not exist"):
        read_folder(f"{tmp_path}/train-{{000..003}}.tar", 1)
    assert set(read_folder(tmp_path, 1, limit=2)["image_id"].to_pylist()) < set(ids)


def test_braces() -> None:
    assert expand("{a,b}/{08..10}.tar") == ["a/08.tar", "a/09.tar", "a/10.tar", "b/08.tar", "b/09.tar", "b/10.tar"]
    for endless in ("{0..999999999}.tar", "{0..999}{0..999}.tar"):
        with pytest.raises(UserError, match="more than 100,000 files"):
            expand(endless)


def test_a_broken_image_is_left_to_the_stages(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", [("a.jpg", b"no image"), ("a.cls", b"dog")])
    (row,) = read_folder(path, 1).to_pylist()
    assert row["width"] is None and row["content"] == digest(b"no image")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("a.png", png())], "holds no images with tags"),
        ([("a.png", png()), ("a.json", b"{")], "the tags of a.png cannot be read"),
        ([("a.png", png()), ("a.json", b'{"tags": true}')], "the tags of a.png cannot be read"),
        ([("a.png", png()), ("a.txt", b"\xff")], "the tags of a.png cannot be read"),
        ([("a.png", png()), ("a.jpg", png()), ("a.txt", b"dog")], "holds two images of a"),
        ([("a.png", png()), ("a.txt", b"dog"), ("a.png", png())], "holds two images of a"),
        ([("a.txt", b"dog")], "holds no images with tags"),
    ],
)
def test_tars_that_a_person_should_mend(tmp_path: Path, entries: list[tuple[str, bytes]], message: str) -> None:
    path = tar(tmp_path / "a.tar", entries)
    with pytest.raises(UserError, match=message) as caught:
        read_folder(path, 1)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "change", [lambda data: data[:600], lambda data: b"text" * 999, gzip.compress, lambda data: b""]
)
def test_what_is_no_tar(tmp_path: Path, change: object) -> None:
    path = tar(tmp_path / "a.tar", sample(0))
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(UserError, match=r"cannot be read as a tar: .*; write it again"):
        read_folder(path, 1)


def test_an_entry_of_a_negative_size_ends_the_reading(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", sample(0))
    data = bytearray(path.read_bytes())
    data[124:136] = b"\xff" * 8 + (2**32 - 1024).to_bytes(4, "big")
    data[148:156] = b" " * 8
    data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
    path.write_bytes(data)
    with pytest.raises(UserError, match="cannot be read as a tar"):
        read_folder(path, 1)


@pytest.mark.parametrize(("separator", "tags"), [(None, ["a|b"]), ("|", ["a", "b"]), ("none", ["a|b"])])
def test_a_separator_that_is_given(tmp_path: Path, separator: str | None, tags: list[str]) -> None:
    path = tar(tmp_path / "a.tar", [*sample(0, b"a|b", "cls"), *sample(1, b'{"tags": "a|b"}', "json")])
    assert read(path, 1, separator=separator).table["tags"].to_pylist() == [tags, tags]
    with pytest.raises(UserError, match="read as class folders, which has no cells: leave --separator out"):
        read(write(tmp_path / "c", "cat/a.png", "dog/b.png"), 1, separator=",")


@pytest.mark.parametrize("member", ["tags", "labels", "class_name", "Categories"])
def test_json_may_call_tags_as_tables_do(tmp_path: Path, member: str) -> None:
    entries = [
        ("a.png", png()),
        ("a.json", json.dumps({"caption": "a dog on grass", member: ["dog"], "width": 7}).encode()),
        ("b.png", png(1)),
        ("b.json", json.dumps({member: "dog;cat"}).encode()),
    ]
    rows = read(tar(tmp_path / "a.tar", entries), 1).table.to_pylist()
    assert [row["tags"] for row in rows] == [["dog"], ["dog", "cat"]]


def test_numbers_for_tags_are_said(tmp_path: Path) -> None:
    found = read(tar(tmp_path / "a.tar", [("a.png", png()), ("a.cls", b"7")]), 1)
    assert found.table["tags"].to_pylist() == [["7"]]
    assert found.notes == ["the tags are numbers: a tar holds no names of classes"]
