"""Every format as programs read it that others wrote: pycocotools, torchvision, supervision and datumaro.

datumaro pins Pillow, pandas and pyarrow below ours, so that its test, which is slow, installs it into an environment of
its own. It reads no polygons of YOLO.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import ndimage

from irnet_ray.commands.export import Export, export
from tests.exports.hard import CLASSES, GIF, LONG, SIZE, TURNED, Truth, hard_run, ids_of, is_painted

DATUMARO = "datumaro==1.13.12"


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """The folder of a hard run and of its exports `coco`, `voc` and `yolo`, and the truth."""
    place = tmp_path_factory.mktemp("hard")
    run, truth = hard_run(place)
    for format in ("coco", "voc", "yolo"):
        made(run, format, place / format)
    return place, truth


def made(run: Path, format: str, out: Path, **named: Any) -> Export:
    return export(run, format, out, **named, console=Console(file=io.StringIO()))


def boxes_of(found: list[tuple[str, np.ndarray]]) -> list[tuple[str, list[int]]]:
    """Class and box (left, top, right, bottom), with the ends excluded, of each mask."""
    boxes = []
    for name, mask in found:
        y, x = np.nonzero(mask)
        boxes.append((name, [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]))
    return boxes


def assert_masks(
    read: list[tuple[str, np.ndarray]], truth: list[tuple[str, np.ndarray]], dilated: bool = False
) -> None:
    """The same classes and masks in the same order.

    `dilated`: as by OpenCV's rasterizer, which also fills the pixels on an outline, and so on the cuts between parts.
    """
    assert [name for name, _ in read] == [name for name, _ in truth]
    for (_, mask), (_, expected) in zip(read, truth, strict=True):
        assert mask.shape == expected.shape
        if dilated:
            beyond = mask & ~ndimage.binary_dilation(expected, np.ones((3, 3)))
            assert np.all(mask[expected]) and not ndimage.binary_opening(beyond, np.ones((2, 2))).any()
        else:
            np.testing.assert_array_equal(mask, expected)


def loaded(path: Path) -> Any:
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


def test_pycocotools_reads_coco(hard: tuple[Path, Truth]) -> None:
    place, truth = hard
    coco = loaded(place / "coco" / "instances.json")
    names = {category["id"]: category["name"] for category in coco.dataset["categories"]}
    assert list(names.values()) == CLASSES
    with contextlib.redirect_stdout(io.StringIO()):
        results = coco.loadRes(coco.dataset["annotations"])
    assert {entry["file_name"] for entry in coco.dataset["images"]} == truth.keys()
    for entry in coco.dataset["images"]:
        for reader in (coco, results):
            read = [(names[a["category_id"]], reader.annToMask(a) > 0) for a in reader.imgToAnns[entry["id"]]]
            assert_masks(read, truth[entry["file_name"]])


def test_torchvision_reads_coco(hard: tuple[Path, Truth]) -> None:
    from torchvision.datasets import CocoDetection

    place, truth = hard
    with contextlib.redirect_stdout(io.StringIO()):
        data = CocoDetection(str(place / "photos"), str(place / "coco" / "instances.json"))
    names = {entry["id"]: entry["file_name"] for entry in data.coco.dataset["images"]}
    checked = 0
    for number, image_id in enumerate(names[key] for key in data.ids):
        if image_id in (LONG, TURNED):  # the first is not below photos by its id; torchvision does not heed EXIF
            continue
        pixels, read = data[number]
        assert is_painted(np.asarray(pixels), truth[image_id]) and len(read) == len(truth[image_id])
        checked += 1
    assert checked == len(truth) - 2


def test_torchvision_reads_voc(hard: tuple[Path, Truth], tmp_path: Path) -> None:
    from torchvision.datasets import VOCDetection, VOCSegmentation

    place, truth = hard
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "VOCdevkit" / "VOC2012").symlink_to(place / "voc" / "VOC")
    ids = ids_of(place / "voc" / "VOC")
    assert sorted(ids.values()) == sorted(truth)
    masks, boxes = (kind(str(tmp_path), "2012", "trainval") for kind in (VOCSegmentation, VOCDetection))
    assert len(masks) == len(boxes) == len(truth)
    for path, (pixels, target), (_, read) in zip(masks.images, masks, boxes, strict=True):
        found = truth[ids[Path(path).stem]]
        assert is_painted(np.asarray(pixels), found)
        expected = sum(((CLASSES.index(name) + 1) * mask for name, mask in found), np.zeros(SIZE))
        np.testing.assert_array_equal(np.asarray(target), expected)
        objects = read["annotation"].get("object", [])
        assert [
            (one["name"], [int(one["bndbox"][side]) - offset for side, offset in BOX.items()]) for one in objects
        ] == boxes_of(found)
        assert read["annotation"]["filename"] == Path(path).name


BOX = {"xmin": 1, "ymin": 1, "xmax": 0, "ymax": 0}  # VOC counts from 1 and includes the last pixel


def test_supervision_reads_coco(hard: tuple[Path, Truth]) -> None:
    import supervision

    place, truth = hard
    # It wants every image below one folder by its name in the file; one name is too long for a file system.
    content = json.loads((place / "coco" / "instances.json").read_text())
    for entry in content["images"]:
        entry["file_name"] = entry["file_name"].replace(LONG, f"{Path(LONG).parent}/long.jpeg")
    file = place / "short.json"
    file.write_text(json.dumps(content))
    data = supervision.DetectionDataset.from_coco(str(place / "photos"), str(file), force_masks=True)
    assert data.classes == CLASSES and len(data) == len(truth)
    for path, pixels, found in data:
        image_id = str(Path(path).relative_to(place / "photos")).replace("long.jpeg", Path(LONG).name)
        assert is_painted(pixels, truth[image_id])
        assert_masks(detections(found, data.classes), truth[image_id])


def detections(found: Any, classes: list[str]) -> list[tuple[str, np.ndarray]]:
    """Class and mask of each of supervision's detections."""
    return [(classes[number], mask) for number, mask in zip(found.class_id, found.mask, strict=True)] if found else []


def test_supervision_reads_voc(hard: tuple[Path, Truth]) -> None:
    import supervision

    place, truth = hard
    folder = place / "voc" / "VOC"
    ids = ids_of(folder)
    data = supervision.DetectionDataset.from_pascal_voc(str(folder / "JPEGImages"), str(folder / "Annotations"))
    assert sorted(data.classes) == CLASSES and len(data) == len(truth)
    for path, pixels, found in data:
        expected = truth[ids[Path(path).stem]]
        assert is_painted(pixels, expected)
        read = [(data.classes[number], box.tolist()) for number, box in zip(found.class_id, found.xyxy, strict=True)]
        assert read == boxes_of(expected)


def test_supervision_reads_yolo(hard: tuple[Path, Truth]) -> None:
    import supervision

    place, truth = hard
    folder = place / "yolo"
    ids, seen = ids_of(folder), []
    assert sorted(ids.values()) == sorted(truth.keys() - {GIF})
    for split in ("train", "val"):
        paths = [str(folder / kind / split) for kind in ("images", "labels")]
        data = supervision.DetectionDataset.from_yolo(*paths, str(folder / "data.yaml"), force_masks=True)
        assert data.classes == CLASSES
        for path, pixels, found in data:
            expected = truth[ids[Path(path).stem]]
            seen.append(ids[Path(path).stem])
            assert is_painted(pixels, expected)
            assert_masks(detections(found, data.classes), expected, dilated=True)
    assert sorted(seen) == sorted(ids.values())


@pytest.mark.slow
def test_datumaro_reads_coco_and_voc(hard: tuple[Path, Truth], tmp_path: Path) -> None:
    place, truth = hard
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", DATUMARO], check=True)

    def read(format: str, folder: Path) -> dict[tuple[str, str], dict[str, list[tuple[str, np.ndarray]]]]:
        """What lies in each item of each split, by kind of annotation, and its image."""
        out = tmp_path / f"{format}.npz"
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        script = Path(__file__).with_name("read_with_datumaro.py")
        subprocess.run([python, script, format, folder, out], check=True, env=environment)
        items: dict[tuple[str, str], dict[str, list[tuple[str, np.ndarray]]]] = {}
        with np.load(out) as file:
            for key in file.files:
                item, split, name, kind, _ = json.loads(key)
                items.setdefault((item, split), {"box": [], "mask": []}).setdefault(kind, []).append((name, file[key]))
        return items

    # It wants COCO's files in `annotations`, beside `images`.
    made(place / "run", "coco", tmp_path / "coco" / "annotations", split="train=0.5,val=0.3,test=0.2")
    shutil.copytree(place / "photos", tmp_path / "coco" / "images")
    coco = read("coco", tmp_path / "coco")
    assert len(coco) == len(truth) and len({split for _, split in coco}) == 3
    # Its ids have no extensions, so that images of one name share an id, and it gives the last annotation first.
    items = {image_id: [coco[key] for key in coco if key[0] == os.path.splitext(image_id)[0]] for image_id in truth}
    for image_id, found in truth.items():
        read_masks = [sorted(item["mask"], key=lambda one: one[0]) for item in items[image_id]]
        (same,) = [masks for masks in read_masks if [name for name, _ in masks] == [name for name, _ in found]]
        assert_masks(same, found)

    # It follows no link out of the folder.
    voc = read("voc", Path(shutil.copytree(place / "voc" / "VOC", tmp_path / "VOC")))
    ids = ids_of(tmp_path / "VOC")
    assert {item for item, split in voc if split in ("train", "val")} == ids.keys()
    assert {item for item, split in voc if split == "trainval"} == ids.keys()
    for (item, _), kinds in voc.items():
        expected = truth[ids[item]]
        assert is_painted(kinds["image"][0][1], expected)
        assert_masks(kinds["mask"], expected)
        boxes = [(name, [x, y, x + width, y + height]) for name, (x, y, width, height) in kinds["box"]]
        assert boxes == boxes_of(expected)
