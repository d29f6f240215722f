"""Calibration of a run whose best thresholds are known, because its attention is made for them. No Ray."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco
from rich.console import Console
from safetensors.torch import save

from irnet_ray import tables
from irnet_ray.commands.calibrate import Calibration, Knob, calibrate
from irnet_ray.config.load import Config, load_config
from irnet_ray.errors import UserError
from irnet_ray.masks import encode_cam, encode_png
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.batch_norm import fold_batch_norm
from irnet_ray.networks.irnet import IRNet
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import publish
from irnet_ray.runs.version import Version

IMAGES = 11
SIZE = (64, 96)
CONFIG = Config.model_validate({"backbone": "lite0", "seed": 7, "labels": {"steps": 8, "background": 0.33}})
# Rows and columns at stride 4 of an object, and of two things beside it that draw attention.
OBJECT, LURE, SHADE = (slice(2, 12), slice(2, 8)), (slice(2, 8), slice(12, 20)), (slice(11, 15), slice(12, 20))


def write_run(place: Path) -> Path:
    """A finished run of one shard: attention 0.9 on the object, 0.33 on a lure and 0.12 on a shade."""
    out = Folder(str(place / "out"))
    (place / "photos" / "images").mkdir(parents=True)
    (place / "photos" / "tags.csv").write_text("image,tags\n")
    torch.manual_seed(0)
    network = IRNet(BACKBONES["lite0"])
    fold_batch_norm(network.backbone.eval())
    out.folder("stages", "irnet-0").write("weights.safetensors", save(network.state_dict()))
    rows: dict[str, list[dict[str, Any]]] = {"images": [], "seeds": [], "labels": []}
    for number in range(IMAGES):
        name, tag = f"{number:02d}.png", ("cat", "dog")[number % 2]
        pixels = np.full((*SIZE, 3), 20, np.uint8)
        cam = np.zeros((1, 16, 24))
        for part, colour, attention in ((OBJECT, 230, 0.9), (LURE, 150, 0.33), (SHADE, 80, 0.12)):
            pixels[tuple(slice(4 * s.start, 4 * s.stop) for s in part)] = colour
            cam[0][part] = attention
        uri = place / "photos" / "images" / name
        Image.fromarray(pixels).save(uri)
        ids, size = {"image_id": name, "tags": [tag]}, {"width": SIZE[1], "height": SIZE[0]}
        blank = encode_png(np.zeros(SIZE, np.uint8))
        rows["images"].append({**ids, **size, "uri": str(uri), "shard": 0})
        rows["seeds"].append({**ids, "class_ids": [number % 2], **encode_cam(cam), "confident_map": blank})
        rows["labels"].append({**ids, **size, "uri": str(uri), "instances": [], "semantic": blank, "fingerprint": "0"})
    for stage, schema in (("images", tables.IMAGES), ("seeds", tables.SEEDS), ("labels", tables.LABELS)):
        table = pa.Table.from_pylist(rows[stage], schema)
        out.folder("stages", f"{stage}-0", "rows").write_table("part-00000-of-00001.parquet", table)
    version = {"version": "0", "shards": 1, "vocabulary": ["cat", "dog"], "config": CONFIG.model_dump(mode="json")}
    publish(
        out, Version({**version, "stages": {stage: f"{stage}-0" for stage in ("images", "seeds", "irnet", "labels")}})
    )
    return Path(out.local_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("timm")
    return write_run(tmp_path_factory.mktemp("calibration"))


def write_truth(
    folder: Path, images: int = IMAGES, width: int = SIZE[1], name: str = "{:02d}.png", classes: str = "cat dog"
) -> Path:
    """Truth of the objects in the first images; the other arguments make it the truth of another run."""
    whole = np.zeros((SIZE[0], width), np.uint8, order="F")
    whole[8:48, 8:32] = 1
    rle = coco.encode(whole)
    rle["counts"] = rle["counts"].decode()
    numbers = range(images)
    content = {
        "images": [{"id": n, "file_name": name.format(n), "height": SIZE[0], "width": width} for n in numbers],
        "annotations": [{"id": n, "image_id": n, "category_id": n % 2, "segmentation": rle} for n in numbers],
        "categories": [{"id": n, "name": word} for n, word in enumerate(classes.split())],
    }
    path = folder / "truth.json"
    path.write_text(json.dumps(content))
    return path


@pytest.fixture(scope="module")
def found(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """The calibration of the run."""
    return calibrate(run, write_truth(tmp_path_factory.mktemp("truth")), console=Console(file=io.StringIO()))


def test_the_thresholds_leave_the_lure_out_and_call_the_shade_background(found: Calibration) -> None:
    foreground, background, labels = found.knobs
    assert [knob.name for knob in found.knobs] == ["seeds.foreground", "seeds.background", "labels.background"]
    # The lowest thresholds that do: 0.33 is under 0.35, and 0.12 under 0.15.
    assert (foreground.own, foreground.chosen, foreground.folds) == (0.30, 0.35, (0.35,) * 5)
    assert (background.own, background.chosen, background.folds) == (0.05, 0.15, (0.15,) * 5)
    assert (foreground.before, foreground.after) == (background.before, background.after)
    assert foreground.before < 0.8 < 0.9 < foreground.after <= 1
    assert labels.own == 0.33 and (labels.chosen == 0.33 or labels.after > labels.before)
    assert found.images == IMAGES and found.changed


def test_the_config_holds_the_run_s_knobs_and_other_thresholds(found: Calibration, run: Path) -> None:
    assert found.config == run / "calibrated.yaml"
    written = load_config(found.config, {"backbone": None, "weights": None}, scenes=False)
    assert written == load_config(found.config, {}, scenes=True)  # the file sets every knob
    own = {"seeds": CONFIG.seeds, "labels": written.labels.model_copy(update={"background": 0.33})}
    assert written != CONFIG and written.model_copy(update=own) == CONFIG
    assert (written.seeds.foreground, written.seeds.background) == (0.35, 0.15)
    assert written.labels.background == found.knobs[2].chosen


def test_the_table_and_the_next_command(found: Calibration, run: Path) -> None:
    head, first, second, third, *_ = found.table().splitlines()
    assert head.split() == ["knob", "run", "chosen", "folds", "before", "after", "gain", "images"]
    assert first.split()[:4] == ["seeds.foreground", "0.3", "0.35", "0.35-0.35"] and first.split()[-1] == str(IMAGES)
    assert second.split()[:4] == ["seeds.background", "0.05", "0.15", "0.15-0.15"]
    assert third.split()[:2] == ["labels.background", "0.33"]
    assert "calibrate the new run once more" in found.table()
    photos = run.parent / "photos"
    words = f"irnet-ray label --config {run}/calibrated.yaml --data {photos} --out {run} --shards 1"
    assert found.command == words


def test_a_knob_that_gains_nothing_keeps_its_value() -> None:
    stays = Knob("labels.background", 0.25, 0.4, 0.25, (0.25, 0.4, 0.4, 0.45, 0.4), 0.312, 0.304)
    moves = replace(stays, chosen=0.4, after=0.331)
    same = replace(stays, best=0.25, folds=(0.25,) * 5, after=0.312)
    tables = [Calibration([knob], 20, Path("c.yaml"), "", []).table() for knob in (stays, moves, same)]
    assert [table.splitlines()[1].split() for table in tables] == [
        ["labels.background", "0.25", "0.25", "0.25-0.45", "31.2", "30.4", "-0.8", "20"],
        ["labels.background", "0.25", "0.4", "0.25-0.45", "31.2", "33.1", "+1.9", "20"],
        ["labels.background", "0.25", "0.25", "0.25-0.25", "31.2", "31.2", "+0.0", "20"],
    ]
    stay = "labels.background stays: 0.4 is best on these images, but choosing gains nothing on others."
    assert [stay in table for table in tables] == [True, False, False]
    assert [Calibration([knob], 20, Path("c.yaml"), "", []).changed for knob in (stays, moves, same)] == [
        False,
        True,
        False,
    ]


@pytest.fixture
def refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """The sentence that refuses a calibration before anything is computed."""

    def refuse(truth: Path, out: Path = run, to: Path | None = None) -> str:
        def computed(*_: object) -> None:
            raise AssertionError("something was computed")

        monkeypatch.setattr("irnet_ray.commands.calibrate._measure_all", computed)
        with pytest.raises(UserError) as caught:
            calibrate(out, truth, to)
        said = str(caught.value)
        assert said.endswith(".") and "\n" not in said
        return said

    return refuse


def test_a_run_that_never_finished(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "No finished run in" in refused(write_truth(tmp_path), out=tmp_path)


def test_truth_of_other_images(refused: Callable[..., str], tmp_path: Path) -> None:
    said = refused(write_truth(tmp_path, name="other_{}.png"))
    assert f"None of the {IMAGES} file names" in said and "other_0.png" in said


@pytest.mark.parametrize(("images", "words"), [(1, "share 1 image:"), (9, "share 9 images:")])
def test_too_few_images(refused: Callable[..., str], tmp_path: Path, images: int, words: str) -> None:
    said = refused(write_truth(tmp_path, images))
    assert words in said and "at least 10" in said


def test_truth_of_unknown_classes(refused: Callable[..., str], tmp_path: Path) -> None:
    said = refused(write_truth(tmp_path, classes="katze hund"))
    assert "(hund, katze) is a class of the run (cat, dog)" in said


def test_truth_of_other_images_does_not_make_classes_known(refused: Callable[..., str], tmp_path: Path) -> None:
    path = write_truth(tmp_path, classes="katze hund")
    content = json.loads(path.read_text())
    content["images"].append({**content["images"][0], "id": 99, "file_name": "elsewhere.png"})
    content["categories"].append({"id": 9, "name": "cat"})
    content["annotations"].append({**content["annotations"][0], "id": 99, "image_id": 99, "category_id": 9})
    path.write_text(json.dumps(content))
    assert "(hund, katze) is a class of the run (cat, dog)" in refused(path)


def test_truth_of_another_size(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "00.png has 96 x 64 pixels, and its truth 80 x 64" in refused(write_truth(tmp_path, width=80))


def test_truth_that_does_not_decode(refused: Callable[..., str], tmp_path: Path) -> None:
    path = write_truth(tmp_path)
    content = json.loads(path.read_text())
    content["annotations"][4]["segmentation"]["counts"] = "a"
    path.write_text(json.dumps(content))
    assert "annotation 4 has no segmentation that is RLE of its image's size or polygons" in refused(path)


def test_a_file_that_cannot_be_written(refused: Callable[..., str], tmp_path: Path) -> None:
    for to in (tmp_path / "absent" / "c.yaml", tmp_path, write_truth(tmp_path) / "c.yaml"):
        assert f"Cannot write {to}: " in refused(write_truth(tmp_path), to=to)


def test_an_image_that_is_gone(refused: Callable[..., str], tmp_path: Path) -> None:
    out = write_run(tmp_path / "gone")
    gone = out.parent / "photos" / "images" / "03.png"
    gone.unlink()
    assert f"{gone} cannot be read any more" in refused(write_truth(tmp_path), out=out)
