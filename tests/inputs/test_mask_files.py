"""Masks beside images are known by their names, and classes that are called like masks stay classes."""

from __future__ import annotations

import pytest

from irnet_ray.inputs.mask_files import masks


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (["images/a.jpg"], ["masks/a.png"]),
        (["images/a.jpg"], ["masks/a_mask.png", "Ground Truth/a.png"]),
        (["a.jpg"], ["masks/a.png", "SegmentationClass/a.png"]),
        (["train/images/a.jpg"], ["train/labels/a.png"]),
        (["cat/a.jpg"], ["cat/a_mask.png", "cat/a.mask.png", "cat/a-seg.png", "cat/a_mask_1.png"]),
        (["benign/benign (1).png"], ["benign/benign (1)_mask.png"]),
        (["JPEGImages/x/a.jpg"], ["SegmentationObject/x/a.png"]),
    ],
)
def test_masks_beside_images(images: list[str], found: list[str]) -> None:
    assert masks([*images, *found]) == set(found)


@pytest.mark.parametrize(
    "paths",
    [
        ["mask/1.jpg", "no_mask/1.jpg", "without_mask/1.jpg"],  # faces with and without masks
        ["images/b.jpg", "masks/a.png"],  # names that do not match
        ["masks/a.png"],
        ["cat/a_mask.png"],
        ["cat/unmask.png", "cat/a.png"],
        ["train/images/a.jpg", "test/masks/a.png"],
        ["label/1.jpg", "bottle/1.jpg"],
    ],
)
def test_other_names_are_no_masks(paths: list[str]) -> None:
    assert masks(paths) == set()
