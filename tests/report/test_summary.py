"""Counts of rows by hand, and that they add up however the rows are spread."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from irnet_ray.masks import encode_cam, encode_png
from irnet_ray.report.summary import Summary, at_cells, compare

Pair = tuple[dict[str, Any], dict[str, Any]]


def pair(
    tags: list[str],
    semantic: np.ndarray,
    cam: np.ndarray,
    instances: list[tuple[str, float]],
    working: tuple[int, int] | None = None,
) -> Pair:
    """A row of labels and one of seeds, with the columns that count."""
    label = {
        "tags": tags,
        "semantic": encode_png(semantic),
        "instances": [{"class_name": name, "quality": quality} for name, quality in instances],
    }
    mined = encode_png(np.zeros(working or semantic.shape))
    # Class ids are the vocabulary's, and not to be taken for the image's own numbers.
    return label, {"class_ids": [70 + n for n in range(len(tags))], **encode_cam(cam), "confident_map": mined}


def cat_and_dog() -> Pair:
    """8 x 8 pixels, 2 x 2 cells. Label: cats on the left, a dog at the lower right; the CAM sees it otherwise."""
    semantic = np.zeros((8, 8), np.uint8)
    semantic[:, :4], semantic[4:, 4:] = 1, 2
    cat, dog = [[1, 0.5], [0.25, 0.125]], [[0, 0.125], [0.75, 0.25]]  # 0.25 is not above the threshold
    return pair(["cat", "dog"], semantic, np.array([cat, dog]), [("cat", 0.5), ("cat", 0.75), ("dog", 0.25)])


def nothing_found() -> Pair:
    """4 x 8 pixels, 1 x 2 cells, of which the CAM takes one for a cat."""
    return pair(["cat"], np.zeros((4, 8), np.uint8), np.array([[[1.0, 0.0]]]), [])


def summed(pairs: list[Pair]) -> Summary:
    summary = Summary()
    for label, seed in pairs:
        summary.add(label, seed)
    return summary


def test_one_image_by_hand() -> None:
    report = summed([cat_and_dog()]).to_json(["cat", "dog"])
    assert report["images_by_instances"] == {"0": 0, "1": 0, "2": 0, "3": 1, "4": 0, "5+": 0}
    cat, dog, overall = report["classes"]["cat"], report["classes"]["dog"], report["overall"]
    assert (cat["instances"], cat["instances_per_image"], cat["mean_quality"]) == (2, 2, 0.625)
    assert (cat["pixels"], cat["pixels_share"], cat["pixels_share_in_its_images"]) == (32, 0.5, 0.5)
    # Cells of the CAM: cat cat / dog none; of the label: cat none / cat dog.
    assert (cat["cam_share_in_its_images"], cat["label_share_in_its_images"], cat["cam_label_iou"]) == (0.5, 0.5, 1 / 3)
    assert (dog["cam_share_in_its_images"], dog["label_share_in_its_images"], dog["cam_label_iou"]) == (0.25, 0.25, 0)
    assert (overall["cam_share_in_its_images"], overall["label_share_in_its_images"]) == (0.75, 0.75)
    assert overall["cam_label_iou"] == 1 / 4  # of the four cells that either labels, one is of the same class in both
    assert (overall["pixels"], overall["pixels_share"], overall["mean_quality"]) == (48, 0.75, 0.5)


def test_two_images_by_hand() -> None:
    report = summed([cat_and_dog(), nothing_found()]).to_json(["cat", "dog", "emu"])
    assert report["overall"] == {
        "images": 2,
        "images_share": 1,
        "images_without_instance": 1,
        "images_without_instance_share": 0.5,
        "images_without_tag": 0,
        "instances": 3,
        "instances_per_image": 1.5,
        "mean_quality": 0.5,
        "pixels": 48,
        "pixels_share": 0.5,
        "pixels_share_in_its_images": 0.5,
        "cam_share_in_its_images": 4 / 6,
        "label_share_in_its_images": 3 / 6,
        "cam_label_iou": 1 / 5,
    }
    assert report["images_by_instances"] == {"0": 1, "1": 0, "2": 0, "3": 1, "4": 0, "5+": 0}
    cat, dog, emu = (report["classes"][name] for name in ("cat", "dog", "emu"))
    assert (cat["images"], cat["images_share"], cat["images_without_instance"]) == (2, 1, 1)
    assert (cat["pixels_share"], cat["pixels_share_in_its_images"]) == (32 / 96, 32 / 96)
    assert (cat["cam_share_in_its_images"], cat["label_share_in_its_images"], cat["cam_label_iou"]) == (
        3 / 6,
        2 / 6,
        1 / 4,
    )
    assert (dog["images"], dog["images_share"], dog["images_without_instance_share"]) == (1, 0.5, 0)
    assert (dog["pixels_share"], dog["pixels_share_in_its_images"]) == (16 / 96, 16 / 64)
    assert (emu["images"], emu["pixels"], emu["images_share"]) == (0, 0, 0)
    assert emu["mean_quality"] is None and emu["images_without_instance_share"] is None


def test_a_class_without_an_instance_beside_one_that_has_some() -> None:
    semantic = np.full((4, 4), 2, np.uint8)
    report = summed([pair(["cat", "dog"], semantic, np.ones((2, 1, 1)), [("dog", 1.0)] * 7)]).to_json(["cat", "dog"])
    assert report["classes"]["cat"]["images_without_instance"] == 1
    assert report["classes"]["dog"]["images_without_instance"] == 0
    assert report["overall"]["images_without_instance"] == 0
    assert report["images_by_instances"]["5+"] == 1


def test_no_row_at_all_is_plain_json() -> None:
    report = json.loads(json.dumps(Summary().to_json(["cat"]), allow_nan=False))
    assert report["overall"]["images"] == 0 and report["overall"]["cam_label_iou"] is None
    assert set(report["images_by_instances"].values()) == {0}


def test_cells_are_looked_at_in_their_middle() -> None:
    semantic = np.arange(9 * 6, dtype=np.uint8).reshape(9, 6)  # 3 x 2 cells; the last of each lies over the edge
    assert at_cells(semantic, (3, 2), (9, 6)).tolist() == [[2 * 6 + 2, 2 * 6 + 5], [6 * 6 + 2, 6 * 6 + 5], [50, 53]]
    assert at_cells(np.full((1, 1), 7, np.uint8), (1, 1), (1, 1)).tolist() == [[7]]


def test_a_label_larger_than_the_working_image_is_compared_at_the_same_places() -> None:
    semantic = np.zeros((16, 32), np.uint8)
    semantic[:, 8:] = 1
    cam = np.array([[[0.0, 1.0, 1.0, 0.0]]])  # of 4 x 16 pixels: a cell is 16 x 8 of the label's
    _, seed = pair(["cat"], semantic, cam, [], working=(4, 16))
    assert compare(semantic, seed).tolist() == [[1, 1], [0, 2]]


@st.composite
def images(draw: st.DrawFn) -> Pair:
    """Any small image. Qualities are of 64ths, whose sums are exact in any order."""
    tags = draw(st.lists(st.sampled_from("abcd"), max_size=4, unique=True))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cam = rng.random((len(tags), -(-height // 4), -(-width // 4)))
    found = st.tuples(st.sampled_from(tags or ["-"]), st.integers(0, 64).map(lambda n: n / 64))
    instances = draw(st.lists(found, max_size=7 if tags else 0))
    return pair(tags, rng.integers(0, len(tags) + 1, (height, width), np.uint8), cam, instances)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(images(), max_size=3), max_size=4), st.randoms())
def test_counts_of_shares_of_the_images_merge_to_those_of_all(shares: list[list[Pair]], random: Any) -> None:
    merged = Summary()
    parts = [summed(share) for share in shares]
    random.shuffle(parts)
    for part in parts:
        merged.merge(part)
    whole = summed([one for share in shares for one in share])
    assert merged.to_json("abcd") == whole.to_json("abcd")
    assert merged == whole
    every = whole.every
    assert every.both <= min(every.cam, every.label) and max(every.cam, every.label) <= every.either <= every.cells
    for count in ("pixels", "cam", "label", "both", "instances"):
        assert getattr(every, count) == sum(getattr(one, count) for one in whole.classes.values())


def test_what_is_merged_stays_as_it_was() -> None:
    one, other = summed([nothing_found()]), summed([cat_and_dog()])
    one.merge(other)
    one.merge(other)
    assert other == summed([cat_and_dog()]) and one.every.images == 3
