"""Pictures of a run: which images are chosen, and what is refused. test_earlier_release.py draws real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from irnet_ray.commands import show as command
from irnet_ray.commands.show import show
from irnet_ray.errors import UserError
from tests.exports.runs import image, write_run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run of ten images and an error, in three shards."""
    return write_run(tmp_path / "out", [image(f"{n}.jpg") for n in range(10)], 3, failed=["broken.jpg"])


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The ids that are drawn. Each gets a grey picture."""
    seen: list[list[str]] = []

    def draw(run: Any, ids: list[str]) -> list[Image.Image]:
        seen.append(ids)
        return [Image.new("RGB", (16, 8), "grey") for _ in ids]

    monkeypatch.setattr(command, "_draw", draw)
    return seen


def test_images_are_chosen_evenly_or_named(out: Path, drawn: list[list[str]]) -> None:
    show(out, limit=3)
    show(out)
    show(out, ["7.jpg", "2.jpg"])
    assert drawn == [["0.jpg", "4.jpg", "9.jpg"], [f"{n}.jpg" for n in range(10)], ["7.jpg", "2.jpg"]]


def test_the_picture_lies_in_the_run_directory_or_where_it_is_asked_for(
    out: Path, drawn: list[list[str]], tmp_path: Path
) -> None:
    assert show(out) == out / "show.png"
    assert show(out, to=tmp_path / "other.png") == tmp_path / "other.png"
    for path in (out / "show.png", tmp_path / "other.png"):
        with Image.open(path) as picture:
            assert picture.format == "PNG"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"limit": 0}, r"^--limit must be at least 1, got 0\.$"),
        ({"images": ["1.jpg", "11.jpg"]}, r"^No label for '11\.jpg': the run has no such image\.$"),
        ({"images": ["broken.jpg"]}, r"^No label for 'broken\.jpg': it is in the errors table\.$"),
        ({"to": "absent/show.png"}, r"^Cannot write absent/show\.png: No such file or directory\.$"),
        ({"to": "show.nothing"}, r"^Cannot write show\.nothing: unknown file extension"),
    ],
)
def test_mistakes_end_in_a_sentence(out: Path, drawn: list[list[str]], named: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        show(out, **named)


def test_a_run_without_labels_has_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="The run has no labels to show: its errors table says why"):
        show(write_run(tmp_path / "out", [], failed=["a.jpg"]))


def test_without_a_finished_run_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="^No finished run in"):
        show(tmp_path)
