"""Dense CRF on the probabilities of a segmentation network, as DeepLab v2 refines them (Chen et al., TPAMI 2018, 4.3).

Shape legend: C classes and background, H W image pixels.
"""

import numpy as np
import pydensecrf.densecrf as dcrf
from numpy.typing import NDArray

# The released parameters of DeepLab v2 on ResNet-101: weights, pixels, and colour units of 0..255.
_NEAR_WEIGHT, _NEAR_PIXELS = 3, 1
_ALIKE_WEIGHT, _ALIKE_PIXELS, _ALIKE_COLOUR = 4, 67, 3
_ITERATIONS = 10
_POSSIBLE = 0.01  # a label that is less probable everywhere cannot win through its neighbours
_SMALLEST = 1e-8


def refine(image: NDArray[np.uint8], probabilities: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Class map of an image from a network's probabilities, with borders moved to colour edges.

    Args:
        image: uint8 (H, W, 3), RGB.
        probabilities: float (C, H, W) in [0, 1], C at most 255.

    Returns:
        uint8 (H, W), indices into `probabilities`.

    Raises:
        ValueError: wrong shapes or dtype, or NaN.
    """
    _check(image, probabilities)
    possible = np.flatnonzero(probabilities.max(axis=(1, 2)) > _POSSIBLE)
    if len(possible) < 2:
        return probabilities.argmax(axis=0).astype(np.uint8)
    height, width = image.shape[:2]
    crf = dcrf.DenseCRF2D(width, height, len(possible))
    energy = -np.log(probabilities[possible].reshape(len(possible), -1).clip(_SMALLEST))
    crf.setUnaryEnergy(np.ascontiguousarray(energy, np.float32))
    crf.addPairwiseGaussian(sxy=_NEAR_PIXELS, compat=_NEAR_WEIGHT)
    crf.addPairwiseBilateral(
        sxy=_ALIKE_PIXELS, srgb=_ALIKE_COLOUR, rgbim=np.array(image, order="C"), compat=_ALIKE_WEIGHT
    )
    q = np.asarray(crf.inference(_ITERATIONS))
    return possible[q.argmax(axis=0)].reshape(height, width).astype(np.uint8)


def _check(image: NDArray[np.uint8], probabilities: NDArray[np.floating]) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(f"Expected an image of uint8 (H, W, 3), got {image.dtype} {image.shape}.")
    if probabilities.ndim != 3 or probabilities.shape[1:] != image.shape[:2] or not 1 <= len(probabilities) <= 255:
        raise ValueError(
            f"Expected probabilities of shape (C, {image.shape[0]}, {image.shape[1]}), 1 <= C <= 255, "
            f"got {probabilities.shape}."
        )
    if np.isnan(probabilities).any():
        raise ValueError("The probabilities hold NaN; expected numbers in [0, 1].")
