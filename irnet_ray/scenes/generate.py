"""The embedded default data set: generated scenes of textured objects that touch, overlap and repeat.

A scene depends only on its seed and index. Tags are written to `tags.csv`, and the truth to `truth.json`, which only
evaluation may read.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from irnet_ray.errors import UserError
from irnet_ray.scenes.backgrounds import background
from irnet_ray.scenes.shapes import KINDS, Kind, Sprite, draw

VERSION = 1  # of the drawing; raise it when the pixels of a (seed, index) change
MIN_VISIBLE = 0.6  # fraction of each object that stays visible
MIN_AREA, MAX_AREA, MAX_COVER = 0.045, 0.22, 0.62  # fractions of the image: an object, and all objects


@dataclass(frozen=True)
class Scene:
    """`image` uint8 (H, W, 3); `masks` bool (N, H, W) of visible pixels; `names` of the N objects."""

    image: np.ndarray
    masks: np.ndarray
    names: list[str]

    @property
    def tags(self) -> list[str]:
        """The distinct names, sorted."""
        return sorted(set(self.names))


@dataclass
class _Placed:
    name: str
    visible: np.ndarray  # bool (H, W)
    footprint: np.ndarray  # bool (H, W), the pixels that it covered when it was placed
    area: int  # pixels of the whole object, including those outside the image
    centre: tuple[int, int]


def scene(index: int, size: tuple[int, int] = (192, 256), seed: int = 0) -> Scene:
    """Scene number `index`; `size` is (height, width) in pixels."""
    rng = np.random.default_rng([seed, index])
    canvas = background(size, rng)
    kinds = _choose_kinds(rng)
    most = min(MAX_AREA, MAX_COVER / len(kinds))
    placed: list[_Placed] = []
    for kind in kinds:
        area = np.exp(rng.uniform(np.log(MIN_AREA), np.log(most))) * size[0] * size[1]
        sprite = draw(kind, area, rng)
        spot = _find_spot(sprite, placed, size, rng)
        if spot is not None:
            canvas = _put_down(canvas, sprite, spot, placed)
    canvas = canvas + rng.normal(0, rng.uniform(0.004, 0.03), canvas.shape)
    return Scene(
        np.clip(np.rint(canvas * 255), 0, 255).astype(np.uint8),
        np.stack([p.visible for p in placed]),
        [p.name for p in placed],
    )


def generate(folder: Path, count: int = 160, size: tuple[int, int] = (192, 256), seed: int = 0) -> Path:
    """Write `count` scenes as `images/scene_00000.png` ..., `tags.csv` and `truth.json` into `folder`.

    The folder appears whole or not at all. A folder that was made with the same parameters is reused.
    `size` is (height, width) in pixels. Raises UserError if `folder` holds anything else.
    """
    folder = Path(folder)
    if count < 1 or min(size) < 64:
        raise UserError(f"Scenes need a count of at least 1 and sides of at least 64 pixels, got {count} and {size}.")
    parameters = {"version": VERSION, "count": count, "size": list(size), "seed": seed}
    if folder.exists():
        _check_reusable(folder, parameters)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        temporary.chmod(0o755)
        _write(temporary, count, size, seed)
        (temporary / "scenes.json").write_text(json.dumps(parameters))
        try:
            os.rename(temporary, folder)
        except OSError:  # the folder exists by now, with the same scenes from another process or something else
            _check_reusable(folder, parameters)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _choose_kinds(rng: np.random.Generator) -> list[Kind]:
    """1 to 5 objects of 1 to 3 kinds. Objects of a kind follow each other, so that they are often side by side."""
    count = int(rng.choice([1, 2, 3], p=[0.35, 0.40, 0.25]))
    chosen = rng.choice(len(KINDS), size=count, replace=False)
    repeats = [int(rng.choice([1, 2, 3], p=[0.45, 0.40, 0.15])) for _ in chosen]
    kinds = [KINDS[k] for k, repeat in zip(chosen, repeats, strict=True) for _ in range(repeat)]
    return kinds[:5]


def _find_spot(
    sprite: Sprite, placed: list[_Placed], size: tuple[int, int], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Centre (y, x) at which every object keeps MIN_VISIBLE of itself, or None after many tries."""
    for _ in range(40):
        if placed and rng.random() < 0.75:
            spot = _beside(placed[-1], sprite, size, rng)
        else:
            spot = (int(rng.integers(size[0])), int(rng.integers(size[1])))
        if spot is not None and _fits(sprite, spot, placed, size):
            return spot
    return None


def _beside(other: _Placed, sprite: Sprite, size: tuple[int, int], rng: np.random.Generator) -> tuple[int, int] | None:
    """The nearest centre in a random direction at which only a small part of `other` is covered; None outside."""
    angle, overlap = rng.uniform(0, 2 * np.pi), rng.uniform(0.005, 0.20)
    allowed = overlap * min(other.area, int(sprite.mask.sum()))
    for distance in range(8, max(size), 2):
        y = other.centre[0] + round(distance * np.sin(angle))
        x = other.centre[1] + round(distance * np.cos(angle))
        if not (0 <= y < size[0] and 0 <= x < size[1]):
            return None
        on_canvas, on_sprite = _windows(sprite, (y, x), size)
        if np.count_nonzero(other.footprint[on_canvas] & sprite.mask[on_sprite]) <= allowed:
            return y, x
    return None


def _fits(sprite: Sprite, spot: tuple[int, int], placed: list[_Placed], size: tuple[int, int]) -> bool:
    on_canvas, on_sprite = _windows(sprite, spot, size)
    cover = sprite.mask[on_sprite]
    if np.count_nonzero(cover) < 0.85 * np.count_nonzero(sprite.mask):
        return False
    return all(
        np.count_nonzero(p.visible) - np.count_nonzero(p.visible[on_canvas] & cover) >= MIN_VISIBLE * p.area
        for p in placed
    )


def _put_down(canvas: np.ndarray, sprite: Sprite, spot: tuple[int, int], placed: list[_Placed]) -> np.ndarray:
    """Draw the sprite with a soft shadow, and remove what it covers from the masks of the others."""
    size = (canvas.shape[0], canvas.shape[1])
    shadow, alpha = np.zeros(size), np.zeros(size)
    rgb = np.zeros(canvas.shape)
    for layer, offset in ((shadow, 3), (alpha, 0)):
        on_canvas, on_sprite = _windows(sprite, (spot[0] + offset, spot[1] + offset), size)
        layer[on_canvas] = sprite.alpha[on_sprite]
    rgb[on_canvas] = sprite.rgb[on_sprite]
    canvas = canvas * (1 - 0.25 * shadow[..., None])
    canvas = canvas * (1 - alpha[..., None]) + rgb * alpha[..., None]
    footprint = alpha >= 0.5
    for other in placed:
        other.visible &= ~footprint
    placed.append(_Placed(sprite.kind.name, footprint.copy(), footprint, int(sprite.mask.sum()), spot))
    return canvas


def _windows(
    sprite: Sprite, centre: tuple[int, int], size: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the canvas under a sprite, and the part of the sprite over the canvas."""
    side = sprite.alpha.shape[0]
    canvas, own = [], []
    for middle, length in zip(centre, size, strict=True):
        start = middle - side // 2
        low, high = max(start, 0), min(start + side, length)
        canvas.append(slice(low, max(low, high)))
        own.append(slice(low - start, max(low, high) - start))
    return (canvas[0], canvas[1]), (own[0], own[1])


def _check_reusable(folder: Path, parameters: dict[str, Any]) -> None:
    try:
        found = json.loads((folder / "scenes.json").read_text())
    except (OSError, ValueError):
        found = None
    if found != parameters:
        raise UserError(
            f"{folder} exists and does not hold these scenes (wanted {parameters}, found {found}): "
            "name another folder, or remove it."
        )


def _write(folder: Path, count: int, size: tuple[int, int], seed: int) -> None:
    from pycocotools import mask as coco

    (folder / "images").mkdir()
    categories = {kind.name: number for number, kind in enumerate(KINDS, start=1)}
    truth: dict[str, list[dict[str, Any]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }
    with (folder / "tags.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["image", "tags"])
        for index in range(count):
            made = scene(index, size, seed)
            name = f"scene_{index:05d}.png"
            Image.fromarray(made.image).save(folder / "images" / name, compress_level=1)
            rows.writerow([name, ";".join(made.tags)])
            truth["images"].append({"id": index + 1, "file_name": name, "height": size[0], "width": size[1]})
            for mask, kind in zip(made.masks, made.names, strict=True):
                rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
                truth["annotations"].append(
                    {
                        "id": len(truth["annotations"]) + 1,
                        "image_id": index + 1,
                        "category_id": categories[kind],
                        "iscrowd": 0,
                        "area": int(mask.sum()),
                        "bbox": [float(value) for value in coco.toBbox(rle)],
                        "segmentation": {"size": list(size), "counts": rle["counts"].decode("ascii")},
                    }
                )
    (folder / "truth.json").write_text(json.dumps(truth))
