"""A dense CRF on a network's probabilities: borders move to those of colour, and impossible labels take no time."""

from __future__ import annotations

import numpy as np
import pytest

from irnet_ray.algorithms import crf
from irnet_ray.algorithms.crf import refine


def two_halves(border: int, seen: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy image whose colour changes at column `border`, and probabilities of 0 and 2 that meet at `seen`."""
    noise = np.random.default_rng(0).integers(-5, 6, (30, 80, 3))
    image = (np.where(np.arange(80) < border, 40, 200)[None, :, None] + noise).astype(np.uint8)
    right = 1 / (1 + np.exp(-(np.arange(80) + 0.5 - seen) / 3))
    probabilities = np.zeros((4, 30, 80), np.float32)
    probabilities[0], probabilities[2] = 0.995 * (1 - right), 0.995 * right
    probabilities[1], probabilities[3] = 0.002, 0.003
    return image, probabilities


def test_a_border_moves_to_that_of_colour() -> None:
    image, probabilities = two_halves(border=40, seen=46)
    assert np.array_equal(probabilities.argmax(0), np.tile(np.where(np.arange(80) < 46, 0, 2), (30, 1)))
    refined = refine(image, probabilities)
    assert refined.dtype == np.uint8
    assert np.array_equal(refined, np.tile(np.where(np.arange(80) < 40, 0, 2), (30, 1)))


def test_impossible_labels_change_nothing_by_being_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    probabilities = rng.dirichlet(np.ones(6), (40, 50)).transpose(2, 0, 1)
    probabilities[4:] *= 0.009
    probabilities /= probabilities.sum(0)
    few = refine(image, probabilities)
    monkeypatch.setattr(crf, "_POSSIBLE", 0)
    assert np.array_equal(refine(image, probabilities), few)


def test_one_possible_label_is_the_answer() -> None:
    probabilities = np.zeros((3, 4, 5))
    probabilities[1] = 1
    assert np.array_equal(refine(np.zeros((4, 5, 3), np.uint8), probabilities), np.ones((4, 5)))


def test_wrong_inputs_are_refused() -> None:
    image, probabilities = np.zeros((4, 5, 3), np.uint8), np.full((2, 4, 5), 0.5)
    with pytest.raises(ValueError, match=r"Expected an image of uint8 \(H, W, 3\), got float64"):
        refine(image.astype(float), probabilities)
    with pytest.raises(ValueError, match=r"Expected probabilities of shape \(C, 4, 5\)"):
        refine(image, probabilities[:, :3])
    probabilities[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="hold NaN"):
        refine(image, probabilities)
