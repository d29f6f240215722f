"""Backgrounds of the generated scenes: gradients, noise and tiles with plain low-contrast clutter.

The clutter has the shapes and hues of the objects but none of their textures, so that neither outline nor
colour alone reveals a class.
"""

from __future__ import annotations

import numpy as np

from irnet_ray.scenes.shapes import KINDS, colour


def background(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random background of `size` (height, width): float (H, W, 3) in [0, 1]."""
    height, width = size
    hue, value = rng.uniform(0, 1), rng.uniform(0.35, 0.75)
    start = colour(hue, rng.uniform(0.05, 0.35), value)
    end = colour(hue + rng.normal(0, 0.1), rng.uniform(0.05, 0.35), np.clip(value + rng.normal(0, 0.18), 0.2, 0.9))
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.arange(height)[:, None] / height - 0.5, np.arange(width)[None, :] / width - 0.5
    ramp = np.clip(x * np.cos(angle) + y * np.sin(angle) + 0.5, 0, 1)[..., None]
    rgb = start * (1 - ramp) + end * ramp
    rgb = rgb + smooth_noise(size, int(rng.integers(3, 7)), rng)[..., None] * rng.uniform(0.02, 0.10)
    rgb = rgb + smooth_noise(size, int(rng.integers(16, 40)), rng)[..., None] * rng.uniform(0.01, 0.06)
    rgb = rgb + _tiles(size, rng)[..., None]
    for _ in range(int(rng.integers(5, 13))):
        _clutter(rgb, rng)
    return np.clip(rgb, 0, 1)


def smooth_noise(size: tuple[int, int], cells: int, rng: np.random.Generator) -> np.ndarray:
    """Normal noise on a grid of `cells` x `cells` cells, interpolated linearly between its points; (H, W)."""
    grid = rng.normal(0, 1, (cells + 1, cells + 1))
    return _hat(size[0], cells) @ grid @ _hat(size[1], cells).T


def _hat(length: int, cells: int) -> np.ndarray:
    """Weights (length, cells + 1) of linear interpolation."""
    position = np.arange(length)[:, None] * (cells / length)
    return np.clip(1 - np.abs(position - np.arange(cells + 1)[None, :]), 0, 1)


def _tiles(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Faint regular planks, tiles or ripples, or nothing; (H, W)."""
    y, x = np.arange(size[0])[:, None], np.arange(size[1])[None, :]
    angle, pitch, depth = rng.uniform(0, np.pi), rng.uniform(10, 40), rng.uniform(0.01, 0.05)
    u = (x * np.cos(angle) + y * np.sin(angle)) / pitch
    v = (-x * np.sin(angle) + y * np.cos(angle)) / pitch
    style = int(rng.integers(0, 4))
    if style == 0:
        return np.zeros(size)
    if style == 1:  # planks
        return np.where(np.mod(u, 1) < 0.1, -depth, depth / 3)
    if style == 2:  # tiles
        return np.where((np.mod(u, 1) < 0.08) | (np.mod(v, 1) < 0.08), -depth, depth / 3)
    return depth * np.sin(2 * np.pi * u + np.sin(v))


def _clutter(rgb: np.ndarray, rng: np.random.Generator) -> None:
    """Blend one plain shape, or one stroke, into `rgb` at low contrast."""
    height, width = rgb.shape[:2]
    centre_y, centre_x = rng.uniform(0, height), rng.uniform(0, width)
    angle, radius = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.22) * height
    reach = 2.6 * radius  # no pixel of the shape is farther from its centre
    top, bottom = max(int(centre_y - reach), 0), min(int(centre_y + reach) + 1, height)
    left, right = max(int(centre_x - reach), 0), min(int(centre_x + reach) + 1, width)
    y = (np.arange(top, bottom) - centre_y)[:, None]
    x = (np.arange(left, right) - centre_x)[None, :]
    u = (x * np.cos(angle) + y * np.sin(angle)) / radius
    v = (-x * np.sin(angle) + y * np.cos(angle)) / radius
    if rng.random() < 0.25:
        inside = (np.abs(v) < 0.12) & (np.abs(u) < 2.5)
    else:
        inside = KINDS[int(rng.integers(len(KINDS)))].shape(u, v)
    tint = colour(rng.uniform(0, 1), rng.uniform(0.1, 0.7), rng.uniform(0.2, 0.9))
    strength = rng.uniform(0.10, 0.36) * inside[..., None]
    window = rgb[top:bottom, left:right]
    window += strength * (tint - window)
