"""Confident class map: where attention and a dense CRF agree on class or background (paper 4.2).

Shape legend: K tags of the image, H W image pixels, L labels of a CRF, N = H*W.
"""

from collections.abc import Sequence

import numpy as np
import pydensecrf.densecrf as dcrf
from numpy.typing import NDArray

UNSURE = 255
MAX_TAGS = 254
_LABEL_PROBABILITY = 0.7  # that the label given to a pixel is right; published value
_ITERATIONS = 10


def confident_map(
    image: NDArray[np.uint8], cams: NDArray[np.floating], foreground: float = 0.30, background: float = 0.05
) -> NDArray[np.uint8]:
    """Pseudo class map of an image from its attention maps (paper 4.2).

    The best class above each threshold is refined by a dense CRF. A pixel is class k where the CRF of the
    `foreground` threshold says k, background where neither CRF says any class, and unsure elsewhere.

    Args:
        image: uint8 (H, W, 3), RGB.
        cams: float (K, H, W) in [0, 1], the image's tags in order. K may be 0, and is at most 254.
        foreground: attention over this is confidently a class.
        background: attention under this is confidently background.

    Returns:
        uint8 (H, W): 0 background, 1..K the image's own tags in order, 255 unsure.

    Raises:
        ValueError: wrong shapes or dtype, more than 254 tags, NaN, or background > foreground.
    """
    if not background <= foreground:
        raise ValueError(f"Expected background <= foreground, got background {background} and foreground {foreground}.")
    sure, possible = refined_tags(image, cams, (foreground, background))
    return agreed(sure, possible)


def refined_tags(
    image: NDArray[np.uint8], cams: NDArray[np.floating], thresholds: Sequence[float]
) -> list[NDArray[np.int64]]:
    """The best tag above each threshold, refined by a dense CRF: a half of `confident_map` for each threshold.

    Args:
        image: uint8 (H, W, 3), RGB.
        cams: float (K, H, W) in [0, 1], the image's tags in order. K may be 0, and is at most 254.
        thresholds: attention over this is a tag. More of them share the lattice of the CRF.

    Returns:
        int64 (H, W) for each threshold: 0 no tag, 1..K the image's own tags in order.

    Raises:
        ValueError: wrong shapes or dtype, more than 254 tags, or NaN.
    """
    _check(image, cams)
    if not len(cams):
        return [np.zeros(image.shape[:2], np.int64) for _ in thresholds]
    best, tag = cams.max(axis=0), cams.argmax(axis=0) + 1
    return _refine(image, [np.where(best > threshold, tag, 0) for threshold in thresholds], len(cams) + 1)


def agreed(sure: NDArray[np.int64], possible: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The confident map, uint8 (H, W), of the `refined_tags` of the foreground and the background threshold."""
    return np.where(sure > 0, sure, np.where(possible > 0, UNSURE, 0)).astype(np.uint8)


def _refine(image: NDArray[np.uint8], label_maps: list[NDArray[np.int64]], labels: int) -> list[NDArray[np.int64]]:
    """Dense CRF on each (H,W) map of 0..labels-1, with one lattice for all, since building it is costly."""
    # One label everywhere: it starts ahead at every pixel and the CRF only widens the lead.
    varied = [bool((m != m.flat[0]).any()) for m in label_maps]
    if not any(varied):
        return label_maps
    height, width = image.shape[:2]
    present = np.unique(np.concatenate([m.ravel() for m, v in zip(label_maps, varied, strict=True) if v]))
    absent = labels - len(present)
    crf = dcrf.DenseCRF2D(width, height, len(present) + (absent > 0))
    crf.addPairwiseGaussian(sxy=3, compat=_compatibility(3, len(present), absent))
    crf.addPairwiseBilateral(
        sxy=50, srgb=5, rgbim=np.array(image, order="C"), compat=_compatibility(10, len(present), absent)
    )
    refined = []
    for label_map, vary in zip(label_maps, varied, strict=True):
        if vary:
            crf.setUnaryEnergy(_unary(np.searchsorted(present, label_map), len(present), absent))
            q = np.asarray(crf.inference(_ITERATIONS))[: len(present)]
            label_map = present[q.argmax(axis=0)].reshape(height, width)
        refined.append(label_map)
    return refined


# Labels that no pixel has share one row of the CRF instead of a row each. They have equal energies, so they
# keep equal probabilities q; a row that stands for m of them carries m*q, which log(m) in its unary and 1/m
# in its compatibility reproduce exactly. They never win, since a label that pixels have is nowhere less
# probable. Hence the same answer at the cost of the labels seen, and not of all the image's tags.


def _unary(index: NDArray[np.int64], present: int, absent: int) -> NDArray[np.float32]:
    """Energies float32 (L, N) of a map of 0..present-1: its label has probability 0.7, others the rest."""
    wrong = -np.log((1 - _LABEL_PROBABILITY) / (present + absent - 1))
    unary = np.full((present + (absent > 0), index.size), wrong, np.float32)
    unary[index.ravel(), np.arange(index.size)] = -np.log(_LABEL_PROBABILITY)
    if absent:
        unary[-1] -= np.log(absent)
    return unary


def _compatibility(weight: float, present: int, absent: int) -> float | NDArray[np.float32]:
    """Potts weight; as a diagonal (negative: agreement lowers energy) where a row stands for several."""
    if absent < 2:
        return weight
    return -np.array([weight] * present + [weight / absent], np.float32)


def _check(image: NDArray[np.uint8], cams: NDArray[np.floating]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"Expected an image of uint8 (H, W, 3), got {image.dtype} {image.shape}.")
    if cams.ndim != 3 or cams.shape[1:] != image.shape[:2]:
        raise ValueError(f"Expected cams of shape (K, {image.shape[0]}, {image.shape[1]}), got {cams.shape}.")
    if len(cams) > MAX_TAGS:
        raise ValueError(
            f"Expected at most {MAX_TAGS} tags (a class map is uint8, and 255 means unsure), got {len(cams)}."
        )
    if np.isnan(cams).any():
        raise ValueError("The cams hold NaN; expected attention in [0, 1].")
