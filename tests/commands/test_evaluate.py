"""Comparing a run with truth: what is measured, and when the ablation is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pycocotools import mask as coco

import irnet_ray
from irnet_ray import tables
from irnet_ray.errors import UserError
from irnet_ray.masks import encode_cam, encode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards


def write_measured_run(place: Path, method: str = "cam") -> tuple[Path, Path]:
    """A finished run of two images, and truth for one of them: its left half is a cat."""
    folder = Folder(str(place / "out"))
    left = np.zeros((8, 8), np.uint8, order="F")
    left[:, :4] = 1
    rle, half, size = coco.encode(left)["counts"].decode(), encode_png(left), {"width": 8, "height": 8}
    cat = {"class_name": "cat", "class_id": 0, "score": 1, "quality": 1, "area": 32, "bbox": [0, 0, 4, 8], "rle": rle}
    cam = {"class_ids": [0], **encode_cam(np.zeros((1, 2, 2))), "confident_map": half}
    image = {"uri": "", "tags": ["cat"], **size}
    of_stage = {
        "images": (tables.IMAGES, {**image, "content": "", "shard": 0}),
        "seeds": (tables.SEEDS, {**cam, "attention": None}),
        "labels": (tables.LABELS, {**image, "instances": [cat], "semantic": half, "fingerprint": ""}),
    }
    for stage, (schema, row) in of_stage.items():
        rows = pa.Table.from_pylist([{"image_id": name, **row} for name in ("a.png", "b.png")], schema)
        shards = Shards(folder.folder("stages", f"{stage}-0"), 1)
        shards.rows.write_table(shards.part(0), rows)
    stages = {stage: f"{stage}-0" for stage in of_stage}
    known = {"version": "0", "stages": stages, "shards": 1, "vocabulary": ["cat"]}
    folder.write_json("current.json", {**known, "config": {"seeds": {"method": method}}})
    truth = {
        "images": [{"id": n, "file_name": name, **size} for n, name in enumerate(["a.png", "c.png"])],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "segmentation": {"size": [8, 8], "counts": rle}}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (place / "truth.json").write_text(json.dumps(truth))
    return place / "out", place / "truth.json"


def test_a_run_is_measured_where_it_has_truth(tmp_path: Path) -> None:
    measured = irnet_ray.evaluate(*write_measured_run(tmp_path))
    assert list(measured.variants) == ["CAM", "labels"]
    assert (measured.images, measured.images_outside_run, measured.truth_instances) == (1, 1, {"cat": 1})
    gain = measured.steps()["CAM", "labels"]["ap50"]
    assert (gain.value, gain.interval) == (1, (1, 1))
    assert "AP50" in measured.table() and json.dumps(measured.to_json(), allow_nan=False)
    # Prototypes use one scale only, and the row says so.
    looked_once = irnet_ray.evaluate(*write_measured_run(tmp_path / "once", "prototypes"))
    assert list(looked_once.variants) == ["CAM, scale 1", "labels"]


def test_the_ablation_is_asked_for_the_images_with_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, truth = write_measured_run(tmp_path)
    labels, seeds = (Shards(Folder(str(out)).folder("stages", f"{name}-0"), 1) for name in ("labels", "seeds"))
    (label,) = labels.rows.read_table(labels.part(0), ids=["a.png"]).to_pylist()
    asked: list[Any] = []

    def ablation_rows(*positional: Any, **named: Any) -> Iterator[dict[str, Any]]:
        asked.append((positional, named))
        (seed,) = seeds.rows.read_table(seeds.part(0), ids=["a.png"]).to_pylist()
        yield {**label, **seed, "boundary_instances": [], "affinitynet_semantic": label["semantic"]}

    monkeypatch.setattr("irnet_ray.commands.ablation.ablation_rows", ablation_rows)
    irnet_ray.evaluate(out, truth)
    assert asked == []
    measured = irnet_ray.evaluate(out, truth, ablation=True, address="a", workers=2)
    assert asked == [((out, ["a.png"]), {"address": "a", "workers": 2, "console": None})]
    gains = {after: figures for (_, after), figures in measured.steps().items()}
    assert list(measured.variants) == ["CAM", "CAM + boundary", "AffinityNet", "labels"]
    assert gains["CAM + boundary"]["ap50"].value == 0 and gains["AffinityNet"]["recall"].value == 1


def test_the_ablation_and_the_upper_bound_are_of_different_runs(tmp_path: Path) -> None:
    out, truth = write_measured_run(tmp_path)
    with pytest.raises(UserError, match=r"holds labels: the upper bound needs a student's predictions"):
        irnet_ray.evaluate(out, truth, upper_bound=True)
    current = json.loads((out / "current.json").read_text())
    student = {"kind": "deeplab", "labels": "0", "model": str(tmp_path)}
    (out / "current.json").write_text(json.dumps({**current, "student": student}))
    with pytest.raises(UserError, match=r"holds a student's predictions: the ablation needs a labeling run"):
        irnet_ray.evaluate(out, truth, ablation=True)


def spelt(truth: Path, name: str) -> Path:
    """The truth with another name of its class."""
    content = json.loads(truth.read_text())
    content["categories"][0]["name"] = name
    truth.write_text(json.dumps(content))
    return truth


def test_truth_may_spell_classes_otherwise(tmp_path: Path) -> None:
    out, truth = write_measured_run(tmp_path)
    measured = irnet_ray.evaluate(out, spelt(truth, "Cat"))
    assert measured.variants["labels"].figures["ap50"].value == 1
    assert measured.notes == ["classes of the truth taken for the run's: Cat is cat"]
    assert measured.table().endswith("note: classes of the truth taken for the run's: Cat is cat")
    assert measured.to_json()["notes"] == list(measured.notes)


def test_truth_of_other_classes_needs_synonyms(tmp_path: Path) -> None:
    out, truth = write_measured_run(tmp_path)
    with pytest.raises(UserError, match=r"No class of .* \(Katze\) is a class of the run \(cat\).*--synonyms"):
        irnet_ray.evaluate(out, spelt(truth, "Katze"))
    (tmp_path / "synonyms.csv").write_text("Katze,cat\n")
    measured = irnet_ray.evaluate(out, truth, synonyms=tmp_path / "synonyms.csv")
    assert measured.variants["labels"].figures["ap50"].value == 1
    # What the run was made with serves as well.
    current = json.loads((out / "current.json").read_text())
    current["data"] = {"folder": "/", "limit": None, "synonyms": {"Katze": "cat"}}
    (out / "current.json").write_text(json.dumps(current))
    assert irnet_ray.evaluate(out, truth).variants["labels"].figures["ap50"].value == 1
