"""What a plan says of images of more than 8 bits, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from irnet_ray.errors import UserError
from irnet_ray.inputs import depths as module
from irnet_ray.inputs.depths import look
from irnet_ray.inputs.images_table import depths, images_table
from irnet_ray.inputs.listing import Listed
from tests.deep import write_tiff


def images(folder: Path, **ramps: tuple[float, float, type]) -> pa.Table:
    """The images table of ramps, by name: from, to and dtype."""
    listed = []
    for name, (low, high, kind) in ramps.items():
        path = folder / f"{name}.tif"
        write_tiff(path, np.linspace(low, high, 48 * 32).reshape(32, 48).astype(kind))
        listed.append(Listed(path.name, ["dog"], str(path)))
    return images_table(listed, 1, None)


def test_images_of_8_bits_are_not_spoken_of(tmp_path: Path) -> None:
    found = look(images(tmp_path, a=(0, 200, np.uint8)), None)
    assert found.lines() == [] and found.images == {}
    assert look(images(tmp_path, a=(0, 200, np.uint8)), (0, 4095)).lines() == [
        "the window 0 to 4,095 changes nothing: no image has more than 8 bits"
    ]


def test_one_range_is_said_in_a_few_words(tmp_path: Path) -> None:
    table = images(tmp_path, a=(0, 4000, np.uint16), b=(9, 3000, np.uint16), c=(0, 200, np.uint8))
    assert depths(table) == {"16": 2}
    found = look(table, None)
    assert found.lines() == ["2 images of 16 bits, scaled by their 12-bit range"]
    assert found.to_json()["images"] == {"16": 2} and found.to_json()["looked_at"] == {"12-bit": 2}


def test_several_ranges_are_said_with_the_way_to_make_them_one(tmp_path: Path) -> None:
    ramps = {"a": (0, 4000, np.uint16), "b": (400, 468, np.uint16), "c": (0, 1, np.float32)}
    (line,) = look(images(tmp_path, **ramps), None).lines()
    assert line.startswith("2 images of 16 bits, 1 of floats, scaled each by the range of its samples: ")
    assert "1 by the 12-bit range" in line and "1 by its own" in line and "1 by the 0 to 1 range" in line
    assert "they lie in 0.0006515 to 3,997" in line and "--window LOW HIGH" in line


def test_only_a_few_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOKED_AT", 2)
    table = images(tmp_path, **{name: (0, 4000, np.uint16) for name in "abcde"})
    assert look(table, None).lines() == ["5 images of 16 bits, scaled by their 12-bit range (2 of them looked at)"]


def test_a_window_that_shows_nothing_is_refused(tmp_path: Path) -> None:
    table = images(tmp_path, a=(2000, 4000, np.uint16), b=(100, 900, np.uint16))
    some = look(table, (1000, 4095))
    some.check()
    assert some.lines() == [
        "2 images of 16 bits, scaled by the window 1,000 to 4,095; 1 of 2 looked at lie outside of it"
    ]
    with pytest.raises(
        UserError, match=r"The window 0 to 1 shows nothing: the samples of 2 images .* lie in 10\d to 3,9"
    ):
        look(table, (0, 1)).check()


def test_pages_are_counted_and_broken_images_passed_over(tmp_path: Path) -> None:
    write_tiff(tmp_path / "pages.tif", np.zeros((4, 4), np.uint8), pages=2)
    frames = [Image.new("L", (8, 8), shade) for shade in (0, 200)]
    frames[0].save(tmp_path / "frames.gif", save_all=True, append_images=frames[1:])
    write_tiff(tmp_path / "cut.tif", np.zeros((64, 64), np.uint16))
    (tmp_path / "cut.tif").write_bytes((tmp_path / "cut.tif").read_bytes()[:300])
    (tmp_path / "empty.tif").write_bytes(b"")
    listed = [Listed(path.name, ["dog"], str(path)) for path in sorted(tmp_path.iterdir())]
    assert look(images_table(listed, 1, None), None).lines() == [
        "1 image of 16 bits, scaled each by the range of its samples",
        "2 images with several pages or frames: the first is taken of each",
    ]
