"""Samples of inter-pixel relations: images and confident maps stay aligned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from irnet_ray.algorithms.maps import UNSURE
from irnet_ray.commands.plan import Plan
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.images import GREY, load_image
from irnet_ray.stages.relation_samples import RelationSamples
from tests.stages.conftest import truth_map


@pytest.fixture
def samples(plan: Plan, truth_seeds: Shards) -> RelationSamples:
    return RelationSamples(plan.config, plan.shards("images"), truth_seeds)


def test_every_image_comes_with_its_own_map(samples: RelationSamples) -> None:
    assert len(samples) == 6
    for index in range(6):
        image, class_map = samples.pair(index)
        number = int(Path(samples.uris[index].as_py()).stem[6:])
        assert np.array_equal(class_map, truth_map(number))
        assert np.array_equal(image, load_image(samples.uris[index].as_py(), 1280))


@pytest.mark.parametrize("stride", [4, 8])
def test_the_map_stays_on_the_image_through_scale_mirror_and_crop(
    samples: RelationSamples, monkeypatch: pytest.MonkeyPatch, stride: int
) -> None:
    # The image shows its own map: a smooth ramp, so that resizing does not blur it.
    y, x = np.mgrid[0:90, 0:127]
    class_map = (x + y + 1).astype(np.uint8)
    monkeypatch.setattr(samples, "pair", lambda _: (np.repeat(class_map[..., None], 3, 2), class_map))
    for seed in range(40):
        sample = samples.sample(0, np.random.default_rng(seed), 64, stride)
        image, shown = sample["image"].numpy().astype(int), sample["class_map"].numpy().astype(int)
        assert (image.shape, shown.shape) == ((3, 64, 64), (64 // stride, 64 // stride))
        # Only cells away from the padding are compared: each map pixel lies in the middle of its cell.
        inside = shown != UNSURE
        edge = np.pad(inside, 1, constant_values=False)
        inner = inside & edge[:-2, 1:-1] & edge[2:, 1:-1] & edge[1:-1, :-2] & edge[1:-1, 2:]
        seen = image[0, stride // 2 :: stride, stride // 2 :: stride]
        assert np.abs(seen - shown)[inner].max(initial=0) <= 3, seed
        outside = np.all(
            image[:, stride // 2 :: stride, stride // 2 :: stride] == np.array(GREY)[:, None, None], axis=0
        )
        assert (outside | inside).all(), seed


def test_a_sample_depends_on_its_generator_only(samples: RelationSamples) -> None:
    one, same, other = (samples.sample(0, np.random.default_rng(seed), 64, 4) for seed in (5, 5, 6))
    assert torch.equal(one["image"], same["image"]) and torch.equal(one["class_map"], same["class_map"])
    assert not torch.equal(one["image"], other["image"])


def test_the_next_image_replaces_one_that_is_gone(samples: RelationSamples) -> None:
    following = samples.pair(3)
    Path(samples.uris[2].as_py()).rename(Path(samples.uris[2].as_py() + ".gone"))
    try:
        assert np.array_equal(samples.pair(2)[0], following[0])
    finally:
        Path(samples.uris[2].as_py() + ".gone").rename(Path(samples.uris[2].as_py()))
    samples.uris = pa.array(["/absent.png"] * 6)
    with pytest.raises(RuntimeError, match="None of the images"):
        samples.pair(0)


def test_an_image_that_changed_its_size_is_not_paired_with_its_old_map(
    samples: RelationSamples, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "other.png")
    uris = samples.uris.to_pylist()
    samples.uris = pa.array([str(tmp_path / "other.png"), *uris[1:]])
    assert np.array_equal(samples.pair(0)[1], samples.pair(1)[1])
