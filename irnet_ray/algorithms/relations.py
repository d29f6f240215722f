"""Confident class map: pixels where attention and a dense CRF agree on class or background (paper 4.2).

Shape legend: K tags of the image, H W image pixels, N = H*W; T maps to refine, L labels of a CRF, R rows of its filter.
"""

from collections.abc import Sequence

import numpy as np
import pydensecrf.densecrf as dcrf
from numpy.typing import NDArray

from irnet_ray.algorithms.maps import MAX_TAGS, UNSURE

_LABEL_PROBABILITY = 0.7  # probability that a pixel's given label is right; published value
_ITERATIONS = 10


def confident_map(
    image: NDArray[np.uint8], cams: NDArray[np.floating], *, foreground: float, background: float
) -> NDArray[np.uint8]:
    """Pseudo class map of an image from its attention maps (paper 4.2).

    A dense CRF refines the best class above each threshold. A pixel is class k if the CRF of the `foreground`
    threshold says k, background if neither CRF says any class, and unsure otherwise.

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
    """The best tag above each threshold, refined by a dense CRF: `confident_map` combines two of these.

    Args:
        image: uint8 (H, W, 3), RGB.
        cams: float (K, H, W) in [0, 1], the image's tags in order. K may be 0, and is at most 254.
        thresholds: attention over this is a tag. All of them share the lattice of the CRF and its passes.

    Returns:
        One int64 (H, W) for each threshold: 0 no tag, 1..K the image's own tags in order.

    Raises:
        ValueError: wrong shapes or dtype, more than 254 tags, or NaN.
    """
    _check(image, cams)
    if not len(cams):
        return [np.zeros(image.shape[:2], np.int64) for _ in thresholds]
    best, tag = cams.max(axis=0), cams.argmax(axis=0) + 1
    return _refine(image, [np.where(best > threshold, tag, 0) for threshold in thresholds], len(cams) + 1)


def agreed(sure: NDArray[np.int64], possible: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Combine the `refined_tags` of the foreground and the background threshold ▶ confident map uint8 (H, W)."""
    return np.where(sure > 0, sure, np.where(possible > 0, UNSURE, 0)).astype(np.uint8)


def _refine(image: NDArray[np.uint8], label_maps: list[NDArray[np.int64]], labels: int) -> list[NDArray[np.int64]]:
    """Dense CRF on each (H,W) map of 0..labels-1. All maps share one lattice, and one pass over it per iteration."""
    # A map with one label everywhere stays as it is: the CRF only makes that label more probable.
    varied = [number for number, label_map in enumerate(label_maps) if (label_map != label_map.flat[0]).any()]
    refined = list(label_maps)
    if not varied:
        return refined
    maps_TN = np.stack([label_maps[number].ravel() for number in varied])
    counts = np.bincount(maps_TN.ravel(), minlength=labels)  # np.unique would sort all pixels
    present = np.flatnonzero(counts)
    index_TN = (np.cumsum(counts > 0) - 1)[maps_TN]
    energy_TLN = _unary(index_TN, len(present), labels - len(present))
    best_TN = _mean_field(image, energy_TLN, labels - len(present))[:, : len(present)].argmax(axis=1)
    for number, best_N in zip(varied, best_TN, strict=True):
        refined[number] = present[best_N].reshape(image.shape[:2])
    return refined


# Labels that no pixel has share one row of the CRF. They have equal energies, so they keep equal probabilities q.
# A row for m of them carries m*q, which log(m) in its unary and 1/m in its message reproduce exactly. They never win,
# because a label that pixels have is nowhere less probable. So the result is the same, and the cost depends on the
# labels present, not on all of the image's tags.


def _unary(index_TN: NDArray[np.intp], present: int, absent: int) -> NDArray[np.float32]:
    """Energies float32 (T, L, N) of T maps of 0..present-1: a label has probability 0.7, the others the rest."""
    wrong = -np.log((1 - _LABEL_PROBABILITY) / (present + absent - 1))
    energy_TLN = np.full((len(index_TN), present + (absent > 0), index_TN.shape[1]), wrong, np.float32)
    np.put_along_axis(energy_TLN, index_TN[:, None], -np.log(_LABEL_PROBABILITY), axis=1)
    if absent:
        energy_TLN[:, -1] -= np.log(absent)
    return energy_TLN


def _mean_field(image: NDArray[np.uint8], energy_TLN: NDArray[np.float32], absent: int) -> NDArray[np.float32]:
    """Mean-field inference of T problems side by side ▶ probabilities float32 (T, L, N).

    The slow part is the filter on the lattice. It is linear, and visits the lattice's points for all rows at once. So
    the rows of all problems are filtered together. The first row of each problem is left out: a problem's rows add up
    to 1, and the filter's response to 1 is known. pydensecrf sums the messages; the rest of an iteration happens here.
    """
    problems, rows, pixels = energy_TLN.shape
    crf = dcrf.DenseCRF2D(image.shape[1], image.shape[0], problems * (rows - 1))
    crf.setUnaryEnergy(np.zeros((problems * (rows - 1), pixels), np.float32))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=50, srgb=5, rgbim=np.array(image, order="C"), compat=10)
    # Python cannot see the size of the buffer that it calls temporary, so a second start provides one for messages.
    (given, _, spare), (messages, _, _) = crf.startInference(), crf.startInference()
    given_RN, messages_RN = np.asarray(given), np.asarray(messages)  # views, not copies
    given_RN[:] = 1
    crf.stepInference(given, messages, spare)
    whole_N = messages_RN[0].copy()
    q_TLN = _softmax(-energy_TLN)
    message_TLN = np.empty_like(energy_TLN)
    for _ in range(_ITERATIONS):
        given_RN[:] = q_TLN[:, 1:].reshape(-1, pixels)
        crf.stepInference(given, messages, spare)
        message_TLN[:, 1:] = messages_RN.reshape(problems, rows - 1, pixels)
        message_TLN[:, 0] = whole_N - message_TLN[:, 1:].sum(axis=1)
        if absent:
            message_TLN[:, -1] /= absent
        q_TLN = _softmax(message_TLN - energy_TLN)
    return q_TLN


def _softmax(x_TLN: NDArray[np.float32]) -> NDArray[np.float32]:
    """Over L, in place."""
    x_TLN -= x_TLN.max(axis=1, keepdims=True)
    np.exp(x_TLN, out=x_TLN)
    x_TLN /= x_TLN.sum(axis=1, keepdims=True)
    return x_TLN


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
