"""Images for the stages: decoded at working size, augmented for training.

Shape suffixes: H W pixels, 3 colours, always uint8 RGB.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from irnet_ray.inputs.decode import ImageError, decode_rgb
from irnet_ray.inputs.pixels import Window
from irnet_ray.tables import Row

GREY = (124, 116, 104)  # the mean colour of ImageNet: padding that normalizes to about zero


def working_size(height: int, width: int, max_side: int) -> tuple[int, int]:
    """The working size (H, W) of an image: its own size, or smaller so that the longer side is `max_side`."""
    scale = min(1.0, max_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def load_image(uri: str, max_side: int, window: Window | None = None) -> np.ndarray:
    """Decode an image at working size, uint8 (H, W, 3); `window` is the config's. Raises ImageError."""
    image = decode_rgb(uri, window)
    size = working_size(image.shape[0], image.shape[1], max_side)
    return resize(image, size) if size != image.shape[:2] else image


def load(row: Row, max_side: int, window: Window | None = None) -> np.ndarray:
    """Load the image of a row of the images table, uint8 (H, W, 3): the first step of map stages. Raises ImageError."""
    return load_image(row["uri"], max_side, window)


def load_tag(row: Row, max_side: int, window: Window | None = None) -> list[np.ndarray]:
    """Load the images of a row of the tags table, uint8 (H, W, 3) each: the first step of the prototypes stage.

    Images that cannot be decoded are left out. The seeds stage records their errors.

    Raises:
        ValueError: none of the images can be decoded.
    """
    images = []
    for uri in row["uris"]:
        try:
            images.append(load_image(uri, max_side, window))
        except ImageError:
            continue
    if not images:
        raise ValueError(f"None of the images of the tag {row['image_id']} can be decoded.")
    return images


def resize(image_HW3: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize to (H, W), bicubic. Pillow averages over pixels when it shrinks an image."""
    height, width = size
    return np.asarray(Image.fromarray(image_HW3).resize((width, height), Image.Resampling.BICUBIC))


def resize_map(index_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize an index map or mask to (H, W) by nearest neighbours, without new values. At its own size, returns it."""
    if size == index_HW.shape:
        return index_HW
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(np.intp), old - 1)
        for new, old in zip(size, index_HW.shape, strict=True)
    )
    return index_HW[rows[:, None], columns[None, :]]


def crop(array: np.ndarray, top: int, left: int, side: int, fill: tuple[int, ...] | int) -> np.ndarray:
    """Cut out a square of `side` at (top, left). It may reach outside the array; `fill` is used there."""
    height, width = array.shape[:2]
    square = np.empty((side, side, *array.shape[2:]), dtype=array.dtype)
    square[...] = fill
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = max(y0, min(top + side, height)), max(x0, min(left + side, width))
    square[y0 - top : y1 - top, x0 - left : x1 - left] = array[y0:y1, x0:x1]
    return square


def random_corner(size: tuple[int, ...], side: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw a corner (top, left) for `crop`: the square lies in the array, or covers it where the array is smaller."""
    top, left = (int(rng.integers(min(0, n - side), max(0, n - side) + 1)) for n in size[:2])
    return top, left
