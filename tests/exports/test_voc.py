"""VOC's PNGs, worked by hand, and read by torchvision."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from irnet_ray.errors import UserError
from irnet_ray.exports import voc
from irnet_ray.exports.labels import Counts, Labeled
from tests.exports.runs import VOCABULARY, box, image, instance, labels_of, write_run

SIZE = (4, 8)


def exported(place: Path, rows: list[dict[str, Any]], **named: float) -> tuple[Path, Counts]:
    counts = Counts()
    voc.write(labels_of(write_run(place / "run", rows), **named), place, counts)
    return place / "VOC", counts


def read(folder: Path, name: str) -> tuple[list[list[int]], list[list[int]]]:
    """Indices of classes and of objects."""
    maps = [Image.open(folder / kind / f"{name}.png") for kind in ("SegmentationClass", "SegmentationObject")]
    assert all(one.mode == "P" for one in maps)
    classes, objects = (np.asarray(one).tolist() for one in maps)
    return classes, objects


def test_maps_worked_by_hand(tmp_path: Path) -> None:
    semantic = box(SIZE, (0, 0, 4, 4)).astype(np.uint8) + 2 * box(SIZE, (0, 5, 4, 8))
    # Left to right over columns: 0-2 a weaker and 2-3 a stronger dog, 4-5 a poor one, 5-7 a cat.
    instances = [
        instance(box(SIZE, (0, 2, 4, 4)), "dog", score=0.75),
        instance(box(SIZE, (0, 0, 4, 3)), "dog", score=0.5),
        instance(box(SIZE, (0, 4, 4, 6)), "dog", score=0.9, quality=0.25),
        instance(box(SIZE, (0, 5, 4, 8)), "cat", score=0.25),
    ]
    rows = [image("a/1.png", instances, semantic, tags=["dog", "cat"])]
    folder, counts = exported(tmp_path, rows, min_quality=0.5)
    classes, objects = read(folder, "a_1")
    assert classes == [[3, 3, 3, 3, 255, 2, 2, 2]] * 4  # by labels.txt: bird, cat, dog
    assert objects == [[2, 2, 1, 1, 255, 3, 3, 3]] * 4
    assert (folder / "labels.txt").read_text().splitlines() == VOCABULARY
    assert (counts.annotations, counts.left_out) == (3, {"of quality below 0.5": 1})


def test_a_semantic_map_needs_no_instances(tmp_path: Path) -> None:
    semantic = np.array([[0, 1, 2, 255]] * 2, np.uint8)
    folder, counts = exported(tmp_path, [image("a.png", [], semantic, tags=["bird", "dog"])])
    assert read(folder, "a") == ([[0, 1, 3, 255]] * 2, [[0, 0, 0, 0]] * 2)
    assert (counts.images, counts.empty) == (1, 1)


def test_an_image_holds_its_254_best_objects(tmp_path: Path) -> None:
    size = (1, 300)
    scores = np.random.default_rng(0).permutation(300) / 300
    instances = [instance(box(size, (0, n, 1, n + 1)), score=float(score)) for n, score in enumerate(scores)]
    folder, counts = exported(tmp_path, [image("a.png", instances, np.ones(size, np.uint8), tags=["cat"])])
    (classes,), (objects,) = read(folder, "a")
    best = np.sort(np.argsort(-scores)[:254])
    expected = np.full(300, 255)
    expected[best] = np.arange(1, 255)
    assert objects == expected.tolist()
    assert classes == np.where(expected == 255, 255, 2).tolist()
    assert counts.left_out == {"beyond an image's best 254": 46}


def test_more_classes_than_a_png_holds_are_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [image("a.png")])
    names = [f"{number:03d}" for number in range(255)]
    voc.check(labels_of(run, vocabulary=names[:254]))
    with pytest.raises(UserError, match="254 classes, and the run has 255"):
        voc.check(labels_of(run, vocabulary=names))


def test_colours_are_those_of_voc() -> None:
    colours = voc.colour_map()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {index: tuple(colours[index].tolist()) for index in known} == known
    assert len(np.unique(colours, axis=0)) == 256


def test_names_link_to_their_images_and_nowhere_else(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "deep er").mkdir(parents=True)
    names = ["-x.jpg", "a\nb.jpg", "deep er/a b.jpg", "deep er/a_b.JPG", "deep er_a_b.jpg", "é.jpeg"]
    for number, name in enumerate(names):
        Image.new("RGB", SIZE[::-1], (number, 0, 0)).save(photos / name, "PNG")
    rows = [image(name, uri=str(photos / name), size=SIZE) for name in [*names, "gone.jpg"]]
    folder, _ = exported(tmp_path, rows)
    files = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if "run" not in path.parts}
    assert all(
        len(path.parts) == 3 for path in files if path.parts[:2] == ("VOC", "JPEGImages") and len(path.parts) > 2
    )
    links = {path.readlink(): path for path in (folder / "JPEGImages").iterdir()}
    assert set(links) == {photos / name for name in [*names, "gone.jpg"]}
    assert {path.suffix for path in links.values()} == {".jpg"} and links[photos / "é.jpeg"].name == "é.jpg"
    assert {path.stem for path in links.values()} == {p.stem for p in (folder / "SegmentationClass").iterdir()}
    lists = {
        name: (folder / "ImageSets" / "Segmentation" / f"{name}.txt").read_text().splitlines()
        for name in ("train", "val", "trainval")
    }
    assert set(lists["trainval"]) == {path.stem for path in links.values()} and len(lists["trainval"]) == 7
    assert sorted(lists["train"] + lists["val"]) == sorted(lists["trainval"])
    for path in (folder / "ImageSets" / "Segmentation").iterdir():
        assert (folder / "ImageSets" / "Main" / path.name).read_text() == path.read_text()
    assert not (folder / "ImageSets" / "Main" / "test.txt").exists()


def test_torchvision_reads_it(tmp_path: Path) -> None:
    from torchvision.datasets import VOCSegmentation

    (tmp_path / "photos").mkdir()
    rows = []
    for number in range(40):
        uri = tmp_path / "photos" / f"{number}.jpg"
        Image.new("RGB", SIZE[::-1]).save(uri)
        mask = box(SIZE, (0, 0, 1 + number % 4, 8))
        rows.append(image(uri.name, [instance(mask, "bird")], mask.astype(np.uint8), tags=["bird"], uri=str(uri)))
    folder, counts = exported(tmp_path, rows)
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "VOCdevkit" / "VOC2012").symlink_to(folder)
    loaded = {split: VOCSegmentation(str(tmp_path), "2012", split) for split in ("train", "val", "trainval")}
    assert 0 < len(loaded["val"]) == counts.splits["val"] < 15
    assert len(loaded["train"]) + len(loaded["val"]) == len(loaded["trainval"]) == 40
    for path, (pixels, target) in zip(loaded["trainval"].images, loaded["trainval"], strict=True):
        rows_of_bird = 1 + int(Path(path).stem) % 4
        assert pixels.size == target.size == SIZE[::-1]
        np.testing.assert_array_equal(np.asarray(target), box(SIZE, (0, 0, rows_of_bird, 8)))


def test_a_test_split_is_no_part_of_trainval(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(60)]
    run = write_run(tmp_path / "run", [image(name) for name in names])
    counts = Counts()
    voc.write(replace(labels_of(run), shares={"train": 0.5, "val": 0.25, "test": 0.25}), tmp_path, counts)
    for folder in ("Main", "Segmentation"):
        place = tmp_path / "VOC" / "ImageSets" / folder
        lists = {path.stem: path.read_text().splitlines() for path in place.iterdir()}
        assert lists.keys() == {"train", "val", "test", "trainval"}
        assert sorted(lists["trainval"]) == sorted(lists["train"] + lists["val"])
        assert sorted(lists["trainval"] + lists["test"]) == sorted(Path(name).stem for name in names)
        assert {split: len(lists[split]) for split in ("train", "val", "test")} == counts.splits


def test_boxes_of_xml_count_from_one_and_names_are_escaped() -> None:
    row = image("a.png", [instance(box(SIZE, (1, 2, 3, 8)), "dog & <cat>\x07")])
    root = ElementTree.fromstring(voc.annotation(Labeled(1, row, row["instances"], {}), "a.jpg"))
    assert [one.text for one in root.findall("object/name")] == ["dog & <cat> "]
    assert [side.text for side in root.findall("object/bndbox/*")] == ["3", "2", "8", "3"]


@pytest.mark.parametrize("count", [2, 254])
def test_the_meta_file_names_the_colour_of_every_index(tmp_path: Path, count: int) -> None:
    names = ["background", *(f"{number}" for number in range(count - 1))]
    voc.write(labels_of(write_run(tmp_path / "run", [image("a.png", tags=[])]), vocabulary=names), tmp_path, Counts())
    meta = json.loads((tmp_path / "VOC" / "dataset_meta.json").read_text())
    assert list(meta["label_map"].values()) == ["_background_", *names, "ignored"]
    colours = voc.colour_map()
    assert meta["segmentation_colors"] == [colours[index].tolist() for index in (*range(count + 1), 255)]
