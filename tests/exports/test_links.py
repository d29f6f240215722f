"""File names that are safe and unique, whatever the images are called, and lead back to the ids."""

from __future__ import annotations

import csv
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irnet_ray.errors import UserError
from irnet_ray.exports import links
from tests.exports.runs import image, labels_of, write_run


def test_plain_names_stay_and_others_are_flattened() -> None:
    known = {
        "2007_000032.jpg": "2007_000032",
        "cats/1 (2).jpeg": "cats_1__2_",
        "../../etc/passwd": "__.._etc_passwd",
        "--help.png": "_help",
        ".hidden.png": "_hidden",
        "a\nb.png": "a_b",
        "größe.tif": "größe",
        ".png": "_",
    }
    assert links.flat_names(list(known)) == list(known.values())


def test_names_that_would_meet_get_a_digest() -> None:
    names = links.flat_names(["a/b.jpg", "a_b.jpg", "a_b.png", "A_B.png"])
    assert names[0] == "a_b" and len(set(map(str.lower, names))) == 4
    assert all(name.lower().startswith("a_b-") for name in names[1:])
    again = links.flat_names(["a_b.png"])
    assert again == ["a_b"]


@given(
    st.lists(st.text(st.sampled_from("aAé/\\. -_\n\0́.jpgpn😀")), unique=True, max_size=30)
    | st.lists(st.text(), unique=True)
)
@settings(deadline=None)
def test_every_name_is_one_file_of_a_flat_folder(image_ids: list[str]) -> None:
    names = links.flat_names(image_ids)
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in names}) == len(image_ids)
    for name in names:
        assert name and len(name.encode()) < 230
        assert name[0] not in "-." and not set(name) & set("/\\\0\n\r\t ") and name.isprintable()
        assert os.path.basename(name) == name


def test_long_names_fit_into_a_file_system(tmp_path: Path) -> None:
    ids = ["ü" * 300 + "/" + "x" * 30 * number for number in range(3)]
    for name in links.flat_names(ids):
        (tmp_path / f"{name}.jpeg").touch()
    assert len(list(tmp_path.iterdir())) == 3


def test_the_extension_is_the_file_s_if_it_is_safe() -> None:
    known = {"/a/b.JPG": ".JPG", "/a.b/c": "", "x.jp\ng": "", "x.png\n": "", "x.": "", "a.tar.gz": ".gz"}
    assert {path: links.extension(path) for path in known} == known


def test_names_lead_back_to_any_id(tmp_path: Path) -> None:
    ids = ["a,b.jpg", 'c"\n\r d.jpg', "größe/猫.png", "=1+1"]
    links.write_names(tmp_path, zip(links.flat_names(ids), ids, ["train"] * 4, strict=True))
    with (tmp_path / "names.csv").open(encoding="utf-8", newline="") as file:
        assert [(row["image_id"], row["split"]) for row in csv.DictReader(file)] == [(name, "train") for name in ids]


@pytest.mark.parametrize("uri", ["s3://bucket/a.png", "gs://b/a.png", "https://x/a.png"])
def test_remote_images_cannot_be_linked_to(tmp_path: Path, uri: str) -> None:
    run = write_run(tmp_path / "run", [image("a.png", uri=uri), image("b.png", uri="/local://b.png")])
    with pytest.raises(UserError, match=f"^1 of the images .*{uri}.* cannot be linked to"):
        links.check(labels_of(run))
