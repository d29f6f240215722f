"""Colours for maps of numbers, computed by numpy alone."""

from __future__ import annotations

import colorsys

import numpy as np

GOLDEN = 0.61803398875  # hues at multiples of this stay apart, however many there are


def distinct(count: int) -> np.ndarray:
    """Uint8 (count, 3): bright colours, each unlike its neighbours."""
    hues = [number * GOLDEN % 1.0 for number in range(count)]
    values = [colorsys.hsv_to_rgb(hue, 0.85 if n % 2 else 0.65, 1.0) for n, hue in enumerate(hues)]
    return np.rint(np.array(values).reshape(count, 3) * 255).astype(np.uint8)


def heat(image: np.ndarray, cams: np.ndarray) -> np.ndarray:
    """Draw attention over a gray image: each pixel has the colour of the tag that is strongest there.

    uint8 (H, W, 3), float (K, H, W) in [0, 1] ▶ uint8 (H, W, 3).
    """
    gray = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) * 0.6
    if not len(cams):
        return gray.astype(np.uint8)
    cams = np.clip(np.nan_to_num(cams), 0, 1)
    strength = cams.max(axis=0)[..., None] * 0.85
    colour = distinct(len(cams))[cams.argmax(axis=0)]
    return np.rint(gray * (1 - strength) + colour * strength).astype(np.uint8)


def flow(field: np.ndarray) -> tuple[np.ndarray, float]:
    """Draw displacements: the hue is their direction, the saturation their length, and white is no displacement.

    float (2, h, w) as (dy, dx) ▶ uint8 (h, w, 3), and the length that is drawn fully saturated, which is the 98th
    percentile.
    """
    dy, dx = np.nan_to_num(np.asarray(field, np.float64))
    length = np.hypot(dy, dx)
    full = float(np.percentile(length, 98)) if length.size else 0.0
    saturation = np.clip(length / full, 0, 1) if full > 0 else np.zeros_like(length)
    sector = (np.arctan2(dy, dx) / (2 * np.pi) % 1.0)[..., None] * 6
    # Each of red, green and blue is full within a sixth of the circle from its hue, and zero beyond a third.
    pure = np.clip(2 - np.abs((sector - np.array([0, 2, 4]) + 3) % 6 - 3), 0, 1)
    rgb = 1 - saturation[..., None] * (1 - pure)
    return np.rint(rgb * 255).astype(np.uint8), full
