"""COCO files that COCO's own tools read: ids, categories, and every mask to the pixel."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from pycocotools.coco import COCO

from irnet_ray import tables
from irnet_ray.exports import coco
from irnet_ray.exports.labels import Counts
from irnet_ray.runs.folder import Folder
from tests.exports.runs import box, image, instance, labels_of, write_run

SIZE = (6, 8)
LEFT, RIGHT = box(SIZE, (0, 0, 6, 3)), box(SIZE, (0, 5, 6, 8))


def exported(run: Path, **named: Any) -> tuple[COCO, Counts]:
    """The file of a run as pycocotools loads it."""
    counts = Counts()
    coco.write(labels_of(run, **named), run, counts)
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(run / "instances.json")), counts


def test_ids_count_from_one_over_all_shards(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(30)]
    pair = [instance(LEFT, "dog", 0.25, 0.75), instance(RIGHT, "bird")]
    run = write_run(tmp_path / "run", [image(name, pair) for name in reversed(names)], shards=3, failed=["5x.png"])
    found, counts = exported(run, shards=3)
    assert [(entry["id"], entry["file_name"]) for entry in found.dataset["images"]] == [
        (number, name) for number, name in enumerate(sorted(names), start=1)
    ]
    assert [entry["id"] for entry in found.dataset["annotations"]] == list(range(1, 61))
    assert [(entry["id"], entry["name"]) for entry in found.dataset["categories"]] == [
        (1, "bird"), (2, "cat"), (3, "dog")
    ]  # fmt: skip
    assert (counts.images, counts.annotations, counts.empty) == (30, 60, 0)
    for number in range(1, 31):
        dog, bird = found.imgToAnns[number]
        assert dog | {"id": 0} == {
            "id": 0,
            "image_id": number,
            "category_id": 3,
            "segmentation": {"size": list(SIZE), "counts": pair[0]["rle"]},
            "area": 18,
            "bbox": [0, 0, 3, 6],
            "iscrowd": 0,
            "score": 0.25,
            "quality": 0.75,
        }
        assert bird["category_id"] == 1


def test_thresholds_leave_instances_out_and_images_in(tmp_path: Path) -> None:
    figures = [(0.2, 0.2), (0.2, 0.9), (0.9, 0.2), (0.5, 0.5)]
    rows = [image("a", [instance(LEFT, score=s, quality=q) for s, q in figures]), image("b")]
    empty = image("c", [instance(np.zeros(SIZE))])
    run = write_run(tmp_path / "run", [*rows, empty])
    found, counts = exported(run, min_score=0.5, min_quality=0.5)
    assert [(a["score"], a["quality"]) for a in found.dataset["annotations"]] == [(0.5, 0.5)]
    assert len(found.dataset["images"]) == 3
    assert counts.left_out == {"of quality below 0.5": 2, "of score below 0.5": 1, "without a pixel": 1}
    assert (counts.images, counts.empty, counts.annotations) == (3, 2, 1)


def test_a_mask_of_several_parts_is_no_crowd(tmp_path: Path) -> None:
    parts = LEFT | RIGHT | box(SIZE, (2, 4, 3, 5))
    found, _ = exported(write_run(tmp_path / "run", [image("a", [instance(parts)])]))
    (kept,) = found.loadAnns(found.getAnnIds(imgIds=[1], iscrowd=False))  # as trainers ask
    np.testing.assert_array_equal(found.annToMask(kept).astype(bool), parts)
    assert kept["area"] == parts.sum()


@given(
    st.lists(
        arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)).filter(np.any),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=30, deadline=None)
def test_every_mask_comes_back_bit_for_bit(masks: list[np.ndarray]) -> None:
    rows = [image(f"{n}", [instance(mask), instance(~mask | mask)], size=mask.shape) for n, mask in enumerate(masks)]
    with tempfile.TemporaryDirectory() as place:
        found, _ = exported(write_run(Path(place), rows))
    for entry in found.dataset["images"]:
        mask = masks[int(entry["file_name"])]
        first, whole = (found.annToMask(a) for a in found.imgToAnns[entry["id"]])
        np.testing.assert_array_equal(first.astype(bool), mask)
        assert whole.all() and whole.shape == mask.shape


def test_torchvision_loads_images_with_their_masks(tmp_path: Path) -> None:
    from torchvision.datasets import CocoDetection

    names = ["a b.png", "deep/ü\n.png"]
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name in names:
        Image.new("RGB", SIZE[::-1], "red").save(tmp_path / "photos" / name)
    run = write_run(tmp_path / "run", [image(name, [instance(LEFT)]) for name in names])
    exported(run)
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = CocoDetection(str(tmp_path / "photos"), str(run / "instances.json"))
    assert len(loaded) == 2
    for pixels, found in loaded:
        assert pixels.size == SIZE[::-1]
        np.testing.assert_array_equal(loaded.coco.annToMask(found[0]).astype(bool), LEFT)


def test_a_large_run_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random((160, 160)) < 0.5
    row = image("", [instance(mask)] * 2, size=mask.shape)
    count = 640  # in ten row groups
    rows = [{**row, "image_id": f"{number:05d}"} for number in range(count)]
    rows_folder = Folder(str(tmp_path / "run")).folder("stages", "labels-0", "rows")
    rows_folder.write_table(tables.part_name(0, 1), pa.Table.from_pylist(rows, tables.LABELS))
    labels, counts = labels_of(tmp_path / "run", shards=1), Counts()
    tracemalloc.start()
    coco.write(labels, tmp_path, counts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    written = (tmp_path / "instances.json").stat().st_size
    assert written > 1e7 and peak < written / 2
    assert len(json.loads((tmp_path / "instances.json").read_bytes())["annotations"]) == 2 * count


def test_a_file_for_each_split_that_has_images(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(40)]
    run = write_run(tmp_path / "run", [image(name, [instance(LEFT), instance(RIGHT)]) for name in names], shards=3)
    counts = Counts()
    labels = replace(labels_of(run, shards=3), shares={"train": 0.7, "val": 0.3 - 1e-9, "test": 1e-9})
    assert coco.write(labels, tmp_path, counts) == "."
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["instances_train.json", "instances_val.json"]
    assert counts.notes == ["no image fell to instances_test.json, so it was not written"]
    images, annotations = [], []
    for split in ("train", "val"):
        with contextlib.redirect_stdout(io.StringIO()):
            found = COCO(str(tmp_path / f"instances_{split}.json"))
        assert len(found.imgs) == counts.splits[split] > 0 and len(found.cats) == 3
        assert all(labels.split(entry["file_name"]) == split for entry in found.dataset["images"])
        assert {a["image_id"] for a in found.dataset["annotations"]} == set(found.imgs)
        images += found.dataset["images"]
        annotations += found.dataset["annotations"]
    assert {entry["id"]: entry["file_name"] for entry in images} == dict(enumerate(sorted(names), start=1))
    assert sorted(a["id"] for a in annotations) == list(range(1, 81))
    assert counts.annotations == 80


def test_a_class_that_the_source_lacks_gets_a_number_of_its_own(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [image("a.png", [instance(LEFT, "dog")])])
    labels = replace(labels_of(run), category_ids={"dog": 3.0, "cat": 1.0})
    coco.write(labels, run, Counts())
    numbers = {one["name"]: one["id"] for one in json.loads((run / "instances.json").read_text())["categories"]}
    assert len(set(numbers.values())) == len(numbers) == 3 and numbers["bird"] == 4


def test_ids_of_a_coco_source_are_kept(tmp_path: Path) -> None:
    """Results can be loaded beside the source, whose ids may be numbers or text, in any order."""
    run = write_run(tmp_path / "run", [image("b.png", [instance(LEFT, "dog")]), image("a.png", [instance(RIGHT)])])
    source = {
        "images": [{"id": 70, "file_name": "a.png"}, {"id": "x", "file_name": "b.png"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 17, "name": "cat"}],
        "annotations": [],
    }
    names = {"category_ids": {one["name"]: one["id"] for one in source["categories"]}}
    labels = replace(labels_of(run), **names, source_ids={"a.png": 70, "b.png": "x"})
    coco.write(labels, run, Counts())
    made = json.loads((run / "instances.json").read_text())
    assert made["categories"] == [*source["categories"], {"id": 19, "name": "bird"}]
    assert [(one["id"], one["file_name"]) for one in made["images"]] == [(70, "a.png"), ("x", "b.png")]
    assert {(one["image_id"], one["category_id"]) for one in made["annotations"]} == {("x", 18), (70, 17)}
    (tmp_path / "source.json").write_text(json.dumps(source))
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = COCO(str(tmp_path / "source.json")).loadRes(made["annotations"])
    assert len(loaded.anns) == 2
