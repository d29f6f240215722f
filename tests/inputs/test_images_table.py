"""Listed images become rows, whatever reading them finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.inputs import images_table as module
from irnet_ray.inputs.images_table import describe, images_table, refuse_unnamed
from irnet_ray.inputs.listing import Listed, Seen
from tests.inputs.formats import digest, png, write


def test_rows_are_sorted_and_limited_by_id(tmp_path: Path) -> None:
    write(tmp_path, "1.png", "2.png", "3.png")
    listed = [Listed(name, ["dog"], str(tmp_path / f"{file}.png")) for name, file in (("c", 1), ("a", 2), ("b", 3))]
    table = images_table(listed, 4, None)
    assert table.schema == tables.IMAGES
    assert table["image_id"].to_pylist() == ["a", "b", "c"] and table["width"].to_pylist() == [21, 22, 20]
    assert table["shard"].to_pylist() == [tables.shard_of(name, 4) for name in "abc"]
    assert images_table(listed, 4, 2).equals(table.slice(0, 2))


def test_what_the_listing_has_seen_is_not_read_again() -> None:
    listed = [Listed("a", ["dog"], "/nowhere.png", Seen((3, 2), "hash"))]
    assert images_table(listed, 1, None, listed_in="/list").to_pylist()[0]["content"] == "hash"


def test_a_missing_image_is_refused_only_if_the_listing_must_be_right(tmp_path: Path) -> None:
    listed = [Listed("a", ["dog"], str(tmp_path / "gone.png"))]
    (row,) = images_table(listed, 1, None).to_pylist()
    assert (row["width"], row["height"], row["content"]) == (None, None, None)
    with pytest.raises(UserError, match=r"/list lists 1 image not found \(.*gone.png\)"):
        images_table(listed, 1, None, listed_in="/list")


def test_a_large_image_is_hashed_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "a.png") / "a.png"
    whole = describe(str(path))
    assert whole == Seen((20, 10), digest(png()))
    monkeypatch.setattr(module, "READ_WHOLE", 1)
    assert describe(str(path)) == whole


def test_names_that_are_not_utf8_are_refused() -> None:
    refuse_unnamed("/data", ["a.png", "é.png"])
    with pytest.raises(UserError, match=r"1 image file in /data with names that are not UTF-8"):
        refuse_unnamed("/data", ["a.png", "\udcff.png"])
