import csv
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read_folder
from irnet_ray.scenes import generate as scenes
from irnet_ray.scenes.shapes import KINDS


@pytest.fixture(scope="module")
def many():
    return [scenes.scene(index) for index in range(24)]


def test_a_scene_depends_on_seed_and_index_alone(many):
    again = scenes.scene(5)
    assert np.array_equal(again.image, many[5].image)
    assert np.array_equal(again.masks, many[5].masks)
    assert not np.array_equal(scenes.scene(5, seed=1).image, many[5].image)
    assert not np.array_equal(scenes.scene(6).image, many[5].image)


def test_scenes_hold_what_the_method_needs(many):
    for made in many:
        assert made.image.shape == (192, 256, 3)
        assert made.image.dtype == np.uint8
        assert 1 <= len(made.names) <= 5
        assert 1 <= len(made.tags) <= 3
        assert made.masks.sum(0).max() <= 1, "visible pixels belong to one object"
        share = made.masks.mean(axis=(1, 2))
        assert share.min() > 0.6 * 0.04
        assert share.max() < 0.25
    repeats = [made for made in many if len(made.names) > len(made.tags)]
    assert len(repeats) > len(many) // 3


def test_repeats_often_touch(many):
    touching = 0
    for made in many:
        for i, first in enumerate(made.masks):
            grown = first.copy()
            grown[1:] |= first[:-1]
            grown[:-1] |= first[1:]
            grown[:, 1:] |= first[:, :-1]
            grown[:, :-1] |= first[:, 1:]
            touching += any(
                (grown & other).any() and made.names[i] == name
                for other, name in zip(made.masks[i + 1 :], made.names[i + 1 :], strict=True)
            )
    assert touching >= len(many) // 4


def test_all_kinds_appear(many):
    assert {name for made in many for name in made.names} == {kind.name for kind in KINDS}


def test_other_sizes():
    made = scenes.scene(0, size=(70, 333), seed=3)
    assert made.image.shape == (70, 333, 3)


def test_generate_writes_a_folder_that_reads_back(tmp_path):
    folder = scenes.generate(tmp_path / "scenes", count=3, seed=7)
    made = scenes.scene(2, seed=7)
    assert np.array_equal(np.asarray(Image.open(folder / "images/scene_00002.png")), made.image)
    rows = list(csv.DictReader((folder / "tags.csv").open()))
    assert rows[2] == {"image": "scene_00002.png", "tags": ";".join(made.tags)}
    assert read_folder(folder, shards=2)["image_id"].to_pylist() == [row["image"] for row in rows]

    truth = json.loads((folder / "truth.json").read_text())
    names = {category["id"]: category["name"] for category in truth["categories"]}
    own = [a for a in truth["annotations"] if a["image_id"] == 3]
    assert [names[a["category_id"]] for a in own] == made.names
    for annotation, mask in zip(own, made.masks, strict=True):
        assert np.array_equal(coco.decode(annotation["segmentation"]).astype(bool), mask)
        assert annotation["area"] == mask.sum()


def test_generate_reuses_the_same_and_refuses_the_different(tmp_path):
    folder = scenes.generate(tmp_path / "scenes", count=1)
    before = (folder / "images/scene_00000.png").stat().st_mtime_ns
    assert scenes.generate(folder, count=1) == folder
    assert (folder / "images/scene_00000.png").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="another folder"):
        scenes.generate(folder, count=2)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="another folder"):
        scenes.generate(tmp_path / "mine", count=1)
    with pytest.raises(UserError, match="count"):
        scenes.generate(tmp_path / "none", count=0)


def test_an_interrupted_generate_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(scenes, "scene", fail)
    with pytest.raises(KeyboardInterrupt):
        scenes.generate(tmp_path / "scenes", count=1)
    assert list(tmp_path.iterdir()) == []
