"""The results of all stages for an image, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from irnet_ray.report.colours import distinct, flow, heat
from irnet_ray.text import count

SIDE = 320  # pixels of a tile's longer side
GAP, CAPTION, FONT = 6, 20, 13
PAPER, INK, FRAME = (255, 255, 255), (30, 30, 30), (190, 190, 190)

Instance = tuple[np.ndarray, str, float]  # mask bool (H, W), class name, score


def panel(
    image: np.ndarray,
    cams: np.ndarray,
    field: np.ndarray,
    boundary: np.ndarray,
    instances: Sequence[Instance],
    tags: Sequence[str],
) -> Image.Image:
    """Draw one image in a row: itself, attention, displacement field, class boundary map, and instances.

    Args:
        image: uint8 (H, W, 3).
        cams: float (K, H, W) in [0, 1], the attention of each of the K `tags`, in their order.
        field: float (2, h, w) as (dy, dx), in cells.
        boundary: float (h, w) in [0, 1], on the same grid of cells.
        instances: any number of (mask bool (H, W), class name, score).
        tags: of the image.

    Raises:
        ValueError: the shapes do not match.
    """
    height, width = image.shape[:2]
    _check(image, cams, field, boundary, instances, tags)
    size = _tile_size(height, width)
    colours, longest = flow(field)
    edges = np.rint(255 * (1 - np.clip(np.nan_to_num(boundary), 0, 1))).astype(np.uint8)
    attention = _resized(heat(image, cams), size)
    _legend(attention, tags)
    shown = [
        (_resized(image, size), f"{width} x {height}"),
        (attention, "attention"),
        (_resized(_spread(colours, height, width), size), f"displacement, to {longest:.1f} cells"),
        (_resized(_spread(np.repeat(edges[..., None], 3, axis=2), height, width), size), "class boundary"),
        (_drawn(image, instances, size), count(len(instances), "instance")),
    ]
    row = Image.new("RGB", (len(shown) * (size[0] + GAP) + GAP, size[1] + CAPTION + GAP), PAPER)
    pen = ImageDraw.Draw(row)
    for number, (tile, caption) in enumerate(shown):
        left = GAP + number * (size[0] + GAP)
        pen.text((left, 3), _fitting(caption, size[0]), INK, _font())
        pen.rectangle((left - 1, CAPTION - 1, left + size[0], CAPTION + size[1]), outline=FRAME)
        row.paste(tile, (left, CAPTION))
    return row


def sheet(panels: Sequence[Image.Image]) -> Image.Image:
    """Stack rows on white paper. Raises ValueError if there is no row."""
    if not panels:
        raise ValueError("A sheet needs at least one panel, got none.")
    page = Image.new("RGB", (max(p.width for p in panels), sum(p.height for p in panels)), PAPER)
    top = 0
    for row in panels:
        page.paste(row, (0, top))
        top += row.height
    return page


def _check(
    image: np.ndarray,
    cams: np.ndarray,
    field: np.ndarray,
    boundary: np.ndarray,
    instances: Sequence[Instance],
    tags: Sequence[str],
) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"Expected an image uint8 (H, W, 3), got {image.dtype} {image.shape}.")
    if cams.shape != (len(tags), *image.shape[:2]):
        raise ValueError(f"Expected CAMs {(len(tags), *image.shape[:2])} like tags and image, got {cams.shape}.")
    if field.ndim != 3 or field.shape[0] != 2 or field.shape[1:] != boundary.shape or not boundary.size:
        raise ValueError(f"Expected a field (2, h, w) and a boundary (h, w), got {field.shape} and {boundary.shape}.")
    for mask, name, _ in instances:
        if mask.shape != image.shape[:2]:
            raise ValueError(f"Expected masks {image.shape[:2]} like the image, got {mask.shape} for {name}.")


def _tile_size(height: int, width: int) -> tuple[int, int]:
    """(width, height) of a tile, with the proportions of the image."""
    scale = SIDE / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _spread(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h, w, 3) cells ▶ (height, width, 3) pixels. Cells are square; the last row and column may be cut off."""
    stride = max(-(-height // cells.shape[0]), -(-width // cells.shape[1]))
    return cells.repeat(stride, axis=0).repeat(stride, axis=1)[:height, :width]


def _resized(rgb: np.ndarray, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(rgb)).resize(size, Image.Resampling.BILINEAR)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT)


def _legend(tile: Image.Image, tags: Sequence[str]) -> None:
    """Write the tags into the upper left corner, each in its colour, as many as fit."""
    pen = ImageDraw.Draw(tile)
    for number, (tag, colour) in enumerate(zip(tags, distinct(len(tags)), strict=True)):
        top = 2 + number * (FONT + 4)
        if top + FONT + 4 > tile.height:
            break
        _label(pen, (3, top), _fitting(tag, tile.width - 6), tuple(colour.tolist()), tile.size)


def _drawn(image: np.ndarray, instances: Sequence[Instance], size: tuple[int, int]) -> Image.Image:
    """Tint and outline each instance in a colour of its own, then write all names on top."""
    canvas = np.asarray(_resized(image, size)).astype(np.float64) * 0.75
    colours = distinct(len(instances))
    places: list[tuple[int, int] | None] = []
    for (mask, _, _), colour in zip(instances, colours, strict=True):
        inside = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST)) > 0
        canvas[inside] = canvas[inside] * 0.5 + colour * 0.5
        canvas[_outline(inside)] = colour
        places.append(_anchor(inside))
    tile = Image.fromarray(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(tile)
    for (_, name, score), colour, place in zip(instances, colours, places, strict=True):
        if place is not None:
            text = _fitting(f"{name} {score:.2f}", size[0])
            corner = (place[0] - int(_font().getlength(text)) // 2, place[1] - FONT // 2)
            _label(pen, corner, text, tuple(colour.tolist()), size)
    return tile


def _outline(inside: np.ndarray) -> np.ndarray:
    """The pixels of a mask within two pixels of its edge. The edge of the image is an edge of the mask."""
    core = inside
    for _ in range(2):
        ring = np.pad(core, 1)
        core = core & ring[:-2, 1:-1] & ring[2:, 1:-1] & ring[1:-1, :-2] & ring[1:-1, 2:]
    return inside & ~core


def _anchor(inside: np.ndarray) -> tuple[int, int] | None:
    """(x, y) of the pixel of a mask nearest to its centre; None for an empty mask."""
    y, x = np.nonzero(inside)
    if not len(y):
        return None
    nearest = int(((y - y.mean()) ** 2 + (x - x.mean()) ** 2).argmin())
    return int(x[nearest]), int(y[nearest])


def _label(
    pen: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    text: str,
    colour: tuple[int, ...],
    size: tuple[int, int],
) -> None:
    """Write coloured text on a dark box, which is moved to lie inside a tile of `size`."""
    font = _font()
    width, height = int(font.getlength(text)) + 4, FONT + 3
    left = max(0, min(corner[0] - 2, size[0] - width))
    top = max(0, min(corner[1] - 1, size[1] - height))
    pen.rectangle((left, top, left + width, top + height), fill=(20, 20, 20))
    pen.text((left + 2, top + 1), text, colour, font)


def _fitting(text: str, width: int) -> str:
    """The text, shortened with "..." at its end if it is wider than `width` pixels."""
    font = _font()
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..." if text else ""
