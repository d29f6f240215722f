"""Open Images: verified labels, ids without extensions, and names of classes apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs import openimages
from irnet_ray.inputs.folder import read
from irnet_ray.inputs.tags import read_tags
from tests.inputs.formats import write

LABELS = """ImageID,Source,LabelName,Confidence
0a,verification,/m/dog,1
0a,verification,/m/cat,0
0b,verification,/m/cat,1
0b,verification,/m/cow,0
0c,verification,/m/cow,1
0c,machine,/m/dog,0.4
0d,verification,/m/dog,0
0d,verification,/m/cat,0
0d,verification,/m/cow,0
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "train", "0a.jpg", "0b.jpg", "0c.jpg", "0d.jpg")
    (tmp_path / "train-annotations-human-imagelabels.csv").write_text(LABELS)
    (tmp_path / "class-descriptions-boxable.csv").write_text("/m/dog,Dog\n/m/cat,Cat\n/m/cow,Cattle\n")
    return tmp_path


@pytest.mark.parametrize("where", ["", "train-annotations-human-imagelabels.csv"])
def test_absent_is_verified_and_the_rest_is_unknown(data: Path, where: str) -> None:
    reading = read(data / where, 1)
    rows = {row["image_id"]: (row["tags"], row["tags_unknown"], row["width"]) for row in reading.table.to_pylist()}
    assert rows == {
        "0a": (["Dog"], ["Cattle"], 20),
        "0b": (["Cat"], ["Dog"], 21),
        "0c": (["Cattle"], ["Cat", "Dog"], 22),
        "0d": ([], None, 23),
    }
    assert "Confidence 1 means present and 0 absent (5 rows)" in reading.notes
    assert "1 row with a Confidence between 0 and 1: taken as unknown" in reading.notes
    assert "4 pairs of image and tag that nobody verified: taken as unknown" in reading.notes
    account = reading.account
    assert account.seen == account.images + account.left_out.total


def test_ids_without_a_list_of_classes_stay_and_are_said(data: Path) -> None:
    (data / "class-descriptions-boxable.csv").unlink()
    found = read_tags(data / "train-annotations-human-imagelabels.csv")
    assert found.rows[0].tags == ["/m/dog"]
    assert any("put class-descriptions.csv beside the table" in note for note in found.notes)
    (data / "oidv7-class-descriptions.csv").write_text("LabelName,DisplayName\n/m/dog,Pet\n/m/cat,Pet\n")
    found = read_tags(data / "train-annotations-human-imagelabels.csv")
    assert [row.tags for row in found.rows] == [["Pet (/m/dog)"], ["Pet (/m/cat)"], ["/m/cow"], []]
    assert "1 id not in the list of classes (/m/cow)" in found.notes


def test_rows_that_contradict_each_other_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image,label,confidence\na,dog,1\na,dog,0\nb,dog,1\n")
    found = read_tags(tmp_path / "t.csv").rows
    assert [(row.tags, row.unknown) for row in found] == [([], ("dog",)), (["dog"], ())]


def test_too_many_unknown_pairs_are_said(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openimages, "MOST_UNKNOWN", 3)
    reading = read(data, 1)
    assert reading.table["tags_unknown"].to_pylist()[:2] == [None, None]
    assert "4 pairs of image and tag that nobody verified, too many to keep: taken as absent" in reading.notes


@pytest.mark.parametrize("value", ["", "yes", "2", "nan", "-1"])
def test_confidence_that_is_none(tmp_path: Path, value: str) -> None:
    (tmp_path / "t.csv").write_text(f"image,label,confidence\na,dog,{value}\nb,cat,1\n")
    with pytest.raises(UserError, match="line 2 holds no number from 0 to 1 in confidence"):
        read_tags(tmp_path / "t.csv")
