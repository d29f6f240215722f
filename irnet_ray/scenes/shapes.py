"""The object kinds of the generated scenes: a shape, a texture and a family of colours each.

Coordinates `u` (right) and `v` (down) are those of the object itself, about 1 at its outline.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]  # u, v -> bool, inside
Texture = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]  # -> bool, second colour


def ball(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A disc of radius 1."""
    return u**2 + v**2 < 1


def box(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A square, a little smaller than the unit one."""
    return np.maximum(np.abs(u), np.abs(v)) < 0.88


def star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Five blunt points. The inner radius is 0.56 of the outer one, so that small stars do not fall apart."""
    half = np.pi / 5
    angle = np.abs(np.mod(np.arctan2(u, -v) + half, 2 * half) - half)  # 0 at a point, `half` at a notch
    radius = np.hypot(u, v)
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    notch_x, notch_y = 0.56 * np.cos(half), 0.56 * np.sin(half)
    return (1 - x) * notch_y - y * (1 - notch_x) > 0


def egg(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """An oval that is wider at the bottom."""
    return (u / (0.74 + 0.16 * v)) ** 2 + v**2 < 1


def tent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A triangle that points up."""
    return (v < 0.65) & (np.abs(u) < (v + 1) * 0.62)


def heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A sextic heart curve, its point down."""
    x, y = 1.15 * u, -1.15 * v + 0.1
    square = y * y
    base = x * x + square - 1
    return base * base * base < x * x * square * y  # numpy's power of 3 is many times slower than products


def stripes(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Straight stripes along v."""
    return np.sin(u * rng.uniform(7, 11) + rng.uniform(0, 6)) > 0


def checks(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A chequerboard."""
    frequency = rng.uniform(6, 9)
    return np.sin(frequency * u + rng.uniform(0, 6)) * np.sin(frequency * v + rng.uniform(0, 6)) > 0


def dots(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Round dots on a square grid."""
    pitch = rng.uniform(0.38, 0.52)
    x = np.mod(u / pitch + rng.uniform(0, 1), 1) - 0.5
    y = np.mod(v / pitch + rng.uniform(0, 1), 1) - 0.5
    return np.hypot(x, y) < rng.uniform(0.26, 0.34)


def speckles(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Irregular blotches: a sum of waves, cut high."""
    total = np.zeros_like(u)
    for _ in range(7):
        angle, frequency, phase = rng.uniform(0, 6.3), rng.uniform(7, 15), rng.uniform(0, 6.3)
        total += np.sin(frequency * (u * np.cos(angle) + v * np.sin(angle)) + phase)
    return total > 1.3


def zigzags(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stripes along u, bent into teeth."""
    tooth = np.abs(np.mod(u * rng.uniform(1.8, 2.6) + rng.uniform(0, 1), 1) - 0.5)
    return np.sin((v + 0.55 * tooth) * rng.uniform(10, 14) + rng.uniform(0, 6)) > 0


def rings(u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rings around a point near the middle."""
    return np.sin(np.hypot(u, v + 0.05) * rng.uniform(11, 16) + rng.uniform(0, 6)) > 0


@dataclass(frozen=True)
class Kind:
    """One class of objects. Hues are in [0, 1); the second colour is drawn where the texture is True."""

    name: str
    shape: Shape
    texture: Texture
    hue: float
    second_hue: float
    second_saturation: tuple[float, float]
    second_value: tuple[float, float]


KINDS: tuple[Kind, ...] = (
    Kind("striped-ball", ball, stripes, 0.00, 0.10, (0.00, 0.20), (0.80, 1.00)),
    Kind("checkered-box", box, checks, 0.60, 0.14, (0.50, 0.80), (0.75, 1.00)),
    Kind("dotted-star", star, dots, 0.13, 0.78, (0.40, 0.80), (0.25, 0.55)),
    Kind("speckled-egg", egg, speckles, 0.42, 0.08, (0.30, 0.60), (0.20, 0.45)),
    Kind("zigzag-tent", tent, zigzags, 0.07, 0.33, (0.40, 0.80), (0.25, 0.50)),
    Kind("ringed-heart", heart, rings, 0.88, 0.88, (0.10, 0.35), (0.75, 1.00)),
)


@dataclass(frozen=True)
class Sprite:
    """One drawn object on its own square: `rgb` (S, S, 3) and `alpha` (S, S), floats in [0, 1]."""

    kind: Kind
    rgb: np.ndarray
    alpha: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """Bool (S, S): the pixels of the object."""
        return self.alpha >= 0.5


def unit_area(shape: Shape) -> float:
    """Area of a shape in units of its own coordinates."""
    axis = (np.arange(150) + 0.5) / 50 - 1.5
    return float(shape(axis[None, :], axis[:, None]).mean()) * 9.0


def draw(kind: Kind, area: float, rng: np.random.Generator) -> Sprite:
    """An object of `kind` of about `area` pixels. Rotation, proportions and colours are random."""
    radius = np.sqrt(area / unit_area(kind.shape))
    aspect = rng.uniform(0.85, 1.18)
    side = 2 * int(np.ceil(radius * 1.5)) + 2
    # Two samples per pixel in each direction give smooth outlines; alpha is their mean.
    axis = (np.arange(2 * side) + 0.5) / 2 - side / 2
    angle = rng.uniform(0, 2 * np.pi) if rng.random() < 0.5 else rng.normal(0, 0.35)
    cos, sin = np.cos(angle), np.sin(angle)
    u = (axis[None, :] * cos + axis[:, None] * sin) / (radius * aspect)
    v = (-axis[None, :] * sin + axis[:, None] * cos) / (radius / aspect)
    inside = kind.shape(u, v)
    rim = inside & ~kind.shape(u * 1.1, v * 1.1)

    first = colour(kind.hue + rng.normal(0, 0.025), rng.uniform(0.55, 0.95), rng.uniform(0.55, 0.95))
    second = colour(
        kind.second_hue + rng.normal(0, 0.025),
        rng.uniform(*kind.second_saturation),
        rng.uniform(*kind.second_value),
    )
    rgb = np.where(kind.texture(u, v, rng)[..., None], second, first)
    light = rng.uniform(0, 2 * np.pi)
    shade = 1.0 - 0.16 * (u**2 + v**2) + 0.16 * (axis[None, :] * np.cos(light) + axis[:, None] * np.sin(light)) / radius
    rgb = rgb * np.where(rim, 0.6, shade)[..., None] * inside[..., None]

    alpha = _halve(inside.astype(np.float64))
    rgb = _halve(rgb) / np.maximum(alpha, 0.25)[..., None]
    return Sprite(kind, np.clip(rgb, 0, 1), alpha)


def colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """RGB in [0, 1]; `hue` wraps around."""
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _halve(values: np.ndarray) -> np.ndarray:
    """Mean over 2x2 blocks of the first two axes."""
    return (values[0::2, 0::2] + values[1::2, 0::2] + values[0::2, 1::2] + values[1::2, 1::2]) / 4
