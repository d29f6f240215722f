"""Images as the stages see them: decoded at working size, augmented for training.

Shape suffixes: H W pixels, 3 colours, always uint8 RGB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from irnet_ray.inputs.decode import ImageError, decode_rgb
from irnet_ray.inputs.pixels import Window

GREY = (124, 116, 104)  # the mean colour of ImageNet: padding that normalizes to about zero


def working_size(height: int, width: int, max_side: int) -> tuple[int, int]:
    """(H, W) at which an image is worked on: its own, or scaled so that the longer side is `max_side`."""
    scale = min(1.0, max_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def load_image(uri: str, max_side: int, window: Window | None = None) -> np.ndarray:
    """Decode an image at working size, uint8 (H, W, 3); `window` is the config's. Raises ImageError."""
    image = decode_rgb(uri, window)
    size = working_size(image.shape[0], image.shape[1], max_side)
    return resize(image, size) if size != image.shape[:2] else image


def load(row: dict[str, Any], max_side: int, window: Window | None = None) -> np.ndarray:
    """The first step of the map stages over images: uint8 (H, W, 3) of a row of the images table. Raises ImageError."""
    return load_image(row["uri"], max_side, window)


def load_tag(row: dict[str, Any], max_side: int, window: Window | None = None) -> list[np.ndarray]:
    """The first step of the map stage over tags: those of a tag's images that can be decoded, uint8 (H, W, 3) each.

    Seeds records the errors of the others. Raises ValueError where there is none.
    """
    images = []
    for uri in row["uris"]:
        try:
            images.append(load_image(uri, max_side, window))
        except ImageError:
            continue
    if not images:
        raise ValueError(f"Not one image of the tag {row['image_id']} can be decoded.")
    return images


def resize(image_HW3: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to (H, W), averaging over pixels where it shrinks."""
    height, width = size
    return np.asarray(Image.fromarray(image_HW3).resize((width, height), Image.Resampling.BICUBIC))


def resize_map(index_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an index map or mask to (H, W) by its nearest pixels; no new values arise. At its own size, itself."""
    if size == index_HW.shape:
        return index_HW
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
        for new, old in zip(size, index_HW.shape, strict=True)
    )
    return index_HW[rows[:, None], columns[None, :]]


def crop(array: np.ndarray, top: int, left: int, side: int, fill: tuple[int, ...] | int) -> np.ndarray:
    """A square of `side` from (top, left), which may lie outside; what the array lacks is `fill`."""
    height, width = array.shape[:2]
    square = np.empty((side, side, *array.shape[2:]), dtype=array.dtype)
    square[...] = fill
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = max(y0, min(top + side, height)), max(x0, min(left + side, width))
    square[y0 - top : y1 - top, x0 - left : x1 - left] = array[y0:y1, x0:x1]
    return square


def random_corner(size: tuple[int, ...], side: int, rng: np.random.Generator) -> tuple[int, int]:
    """A corner (top, left) for `crop`: inside where the array is larger than the square, around it where smaller."""
    top, left = (int(rng.integers(min(0, n - side), max(0, n - side) + 1)) for n in size[:2])
    return top, left
