"""What `show` draws is what the networks saw."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import irnet_ray
from irnet_ray.report import panels
from tests.commands.test_earlier_release import MADE, moved_to, out

__all__ = ["out"]


def test_images_of_ten_bits_in_sixteen_are_not_drawn_black(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = shutil.copytree(MADE / "data", tmp_path / "data")
    for path in data.rglob("*.png"):
        gray = np.asarray(Image.open(path).convert("L")).astype(np.uint16)
        Image.fromarray(gray << 2 | 3).save(path)
    moved_to(data, out)
    drawn = []
    monkeypatch.setattr(panels, "panel", lambda image, *_: drawn.append(image) or Image.fromarray(image))
    irnet_ray.show(out, limit=2, to=tmp_path / "show.png")
    assert len(drawn) == 2
    assert all(image.max() > 150 and image.std() > 10 for image in drawn)
