import itertools

import numpy as np
import pydensecrf.densecrf as dcrf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from irnet_ray.algorithms.relations import agreed, refined_tags
from tests.algorithms.published import confident_map


def plain_crf(image, label_map, labels):
    """The published refinement in its plain form: a CRF of its own, over all labels."""
    height, width = label_map.shape
    unary = np.full((labels, height * width), -np.log(0.3 / (labels - 1)), np.float32)
    unary[label_map.ravel(), np.arange(height * width)] = -np.log(0.7)
    crf = dcrf.DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(unary)
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=50, srgb=5, rgbim=image.copy(), compat=10)
    return np.asarray(crf.inference(10)).argmax(axis=0).reshape(height, width)


def plain_confident_map(image, cams, foreground=0.30, background=0.05):
    sure, possible = (
        plain_crf(image, np.pad(cams, ((1, 0), (0, 0), (0, 0)), constant_values=t).argmax(0), len(cams) + 1)
        for t in (foreground, background)
    )
    return np.where(sure > 0, sure, np.where(possible > 0, 255, 0))


def scene(seed, tags, height=40, width=52):
    """A noisy image and smooth attention, each tag at its own place and over its own colour."""
    random = np.random.default_rng(seed)
    cams = ndimage.gaussian_filter(random.random((tags, height, width)), (0, 6, 6))
    cams -= cams.min(axis=(1, 2), keepdims=True)
    cams = (cams / cams.max(axis=(1, 2), keepdims=True)).astype(np.float32) ** 2
    image = np.tensordot(cams.transpose(1, 2, 0), random.random((tags, 3)), 1) * 120
    return (image + random.random(image.shape) * 10).astype(np.uint8), cams


@pytest.mark.parametrize("name", ["mine_72x96", "mine_99x141"])
def test_agrees_with_the_published_implementation(reference, name):
    case = reference(name)
    number = np.full(256, 255, np.uint8)  # from the dataset's keys to the image's own tags
    number[case["keys"]] = np.arange(len(case["keys"]))
    ours = confident_map(case["image"], case["cam"])
    assert ours.dtype == np.uint8
    assert (ours == number[case["confident_map"]]).mean() >= 0.999


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999), tags=st.integers(1, 5))
def test_one_lattice_for_both_thresholds_is_the_plain_form(seed, tags):
    image, cams = scene(seed, tags)
    assert (confident_map(image, cams) == plain_confident_map(image, cams)).mean() >= 0.999


def test_one_crf_a_threshold_gives_the_map_of_every_pair():
    image, cams = scene(6, 3)
    thresholds = (0.05, 0.15, 0.3, 0.5)
    refined = dict(zip(thresholds, refined_tags(image, cams, thresholds), strict=True))
    maps = []
    for foreground, background in [(0.3, 0.05), (0.3, 0.15), (0.5, 0.05), (0.5, 0.3)]:
        maps.append(agreed(refined[foreground], refined[background]))
        assert (maps[-1] == confident_map(image, cams, foreground, background)).mean() >= 0.999
    assert all((one != other).mean() > 0.01 for one, other in itertools.combinations(maps, 2))
    assert [tags.shape for tags in refined_tags(image, cams[:0], thresholds)] == [(40, 52)] * 4


@pytest.mark.parametrize("hidden", [1, 2, 7])
def test_tags_that_win_nowhere_change_nothing_against_the_plain_form(hidden):
    image, cams = scene(3, 3)
    cams = np.concatenate([cams, np.repeat(cams[:1] * 0.9, hidden, axis=0)])
    ours = confident_map(image, cams)
    assert (ours == plain_confident_map(image, cams)).mean() >= 0.999
    assert set(np.unique(ours)) <= {0, 1, 2, 3, 255}


def test_a_label_over_the_whole_image_is_kept():
    image, cams = scene(1, 1)
    everywhere = np.ones_like(cams)
    assert (confident_map(image, everywhere) == 1).all()
    assert (plain_confident_map(image, everywhere) == 1).all()
    assert (confident_map(image, everywhere * 0.2) == 255).all()
    assert (confident_map(image, everywhere * 0.01) == 0).all()
    # One threshold says one label everywhere, the other does not.
    mixed = 0.1 + 0.9 * cams
    assert (confident_map(image, mixed) == plain_confident_map(image, mixed)).mean() >= 0.999


def test_an_object_on_a_plain_background_gets_its_shape():
    image = np.full((48, 64, 3), 30, np.uint8)
    image[12:36, 16:44] = 220
    cams = np.zeros((1, 48, 64), np.float32)
    cams[0, 14:34, 18:42] = 1.0
    ours = confident_map(image, cams)
    assert (ours[12:36, 16:44] == 1).mean() > 0.99
    assert (ours == 0).sum() > 0.99 * (48 * 64 - 24 * 28)


def test_swapping_tags_swaps_their_numbers():
    image, cams = scene(5, 2)
    one, other = confident_map(image, cams), confident_map(image, cams[::-1])
    assert (np.choose(np.minimum(one, 3), [0, 2, 1, 255]) == other).mean() >= 0.999


def test_arrays_that_cannot_be_written_or_are_not_contiguous():
    image, cams = scene(2, 2)
    expected = confident_map(image, cams)
    image.flags.writeable = cams.flags.writeable = False
    turned = confident_map(np.asfortranarray(image)[::-1][::-1], np.asfortranarray(cams))
    assert np.array_equal(confident_map(image, cams), expected) and np.array_equal(turned, expected)
    assert np.array_equal(confident_map(image, cams), expected), "the inputs must not change"


def test_no_tags_is_all_background_and_one_pixel_is_an_image():
    image, _ = scene(2, 1)
    assert not confident_map(image, np.zeros((0, 40, 52), np.float32)).any()
    pixel = np.zeros((1, 1, 3), np.uint8)
    assert confident_map(pixel, np.ones((1, 1, 1), np.float32)).tolist() == [[1]]


def test_half_precision_cams():
    image, cams = scene(4, 2)
    assert (confident_map(image, cams.astype(np.float16)) == confident_map(image, cams)).mean() > 0.99


def test_254_tags_are_the_most():
    image = np.zeros((4, 4, 3), np.uint8)
    cams = np.zeros((254, 4, 4), np.float32)
    cams[253, :2] = 1
    assert confident_map(image, cams).max() <= 254
    with pytest.raises(ValueError, match="at most 254 tags.*got 255"):
        confident_map(image, np.zeros((255, 4, 4), np.float32))


@pytest.mark.parametrize(
    ("image", "cams", "levels", "words"),
    [
        (np.zeros((4, 4, 3)), np.zeros((1, 4, 4)), {}, "uint8"),
        (np.zeros((4, 4), np.uint8), np.zeros((1, 4, 4)), {}, r"got uint8 \(4, 4\)"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 5)), {}, r"\(K, 4, 4\), got \(1, 4, 5\)"),
        (np.zeros((4, 4, 3), np.uint8), np.full((1, 4, 4), np.nan), {}, "NaN"),
        (
            np.zeros((4, 4, 3), np.uint8),
            np.zeros((1, 4, 4)),
            {"foreground": 0.01},
            "background <= foreground",
        ),
    ],
)
def test_bad_input_is_named(image, cams, levels, words):
    with pytest.raises(ValueError, match=words):
        confident_map(image, cams, **levels)
