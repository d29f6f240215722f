"""A look at the data: the lines, the JSON, and what stops a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from irnet_ray.commands.inspect import inspect
from irnet_ray.errors import UserError
from tests.inputs.formats import png, tagged, write


def classes(folder: Path) -> Path:
    """Three cats, two dogs that are the same, and files that are left out."""
    write(folder, "cat/a.png", "cat/b.png", "cat/c.png", "dog/d.png", "cover.png")
    (folder / "dog" / "e.jfif").write_bytes(png(3))
    (folder / "notes.txt").write_text("")
    return folder


def test_lines_say_what_is_read_and_what_looks_wrong(tmp_path: Path) -> None:
    data = classes(tmp_path)
    assert inspect(data).lines() == [
        f"data     {data}: read as class folders, because 5 of its 6 images are in 2 folders, one for each class",
        "account  7 files = 5 images + 2 left out: 1 an image beside the class folders (cover.png); "
        "1 not an image (notes.txt)",
        "images   5, 0 unreadable, 20 x 10 to 23 x 10 pixels, median 22 x 10",
        "tags     2, 1.0 per image (1 to 1), 0 images without tags",
        "each     cat 3, dog 2",
        "warning  few-images: classes have fewer than 20 images (dog 2, cat 3): add images of them, or expect poor "
        "masks",
        "warning  duplicates: images are the same, byte for byte (dog/d.png = dog/e.jfif): keep one of each",
    ]


def test_tags_from_the_top_and_from_the_bottom(tmp_path: Path) -> None:
    names = [f"tag {n:02d}" for n in range(12)]
    rows = "".join(f"{n}.png,{';'.join(names[: n + 1])}\n" for n in range(12))
    lines = inspect(tagged(tmp_path, [f"{n}.png" for n in range(12)], rows)).lines()
    assert lines[4] == "most     tag 00 12, tag 01 11, tag 02 10, tag 03 9, tag 04 8"
    assert lines[5] == "fewest   tag 07 5, tag 08 4, tag 09 3, tag 10 2, tag 11 1"


def test_a_limit_looks_at_fewer_images_and_counts_all(tmp_path: Path) -> None:
    found = inspect(classes(tmp_path), limit=2)
    assert (found.overview.images, found.reading.account.images) == (2, 5)
    with pytest.raises(UserError, match="limit must be at least 1"):
        inspect(tmp_path, limit=0)


def test_wordnet_ids_are_shown_by_their_names(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    write(tmp_path, "n02108422/a.png", "n02012849/b.png", "n03126707/c.png")
    found = inspect(tmp_path)
    assert "each     crane (n02012849) 1, bull mastiff 1, crane (n03126707) 1" in found.lines()
    assert set(found.to_json()["images_per_tag"]) == {"n02108422", "n02012849", "n03126707"}
