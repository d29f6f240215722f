"""Running a plan whose stages are done: the report is made once from the tables, and weights are checked."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from irnet_ray import tables
from irnet_ray.commands import label as api
from irnet_ray.commands.pipeline import relabel_hint
from irnet_ray.commands.plan import Plan
from irnet_ray.config.load import load_config
from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read_folder
from irnet_ray.masks import encode_cam, encode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.version import Version

IMAGES = 140  # in three row groups of the one shard


@pytest.fixture
def done(tmp_path: Path) -> Plan:
    """A run without its report: every seventh image is an error, and every second has a cat."""
    (tmp_path / "data" / "images").mkdir(parents=True)
    names = [f"{number:03d}.png" for number in range(IMAGES)]
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / "data" / "images" / name)
    (tmp_path / "data" / "notes.txt").write_text("")
    (tmp_path / "data" / "tags.csv").write_text("image,tags\n" + "".join(f"{name},cat;dog\n" for name in names))
    config = load_config(None, {"backbone": "lite0"})
    plan = Plan(Folder(str(tmp_path / "out")), config, read_folder(tmp_path / "data", 1, None), 1)
    plan.write_inputs()
    for stage in ("classifier", "irnet"):
        plan.stage(stage).write("weights.safetensors", b"")
    measured = {"held_out": 9, "tags": {"cat": {"ap": 0.25, "images": 4}}}
    plan.stage("classifier").write_json("measured.json", measured)
    plan.shards("prototypes").seal(0, tables.PROTOTYPES, [])
    write_tables(plan, [name for number, name in enumerate(names) if number % 7])
    return plan


def write_tables(plan: Plan, labelled: list[str]) -> None:
    """Seeds of all images, whose CAM takes the left half for a cat; labels of some images, errors of the others."""
    cam = encode_cam(np.array([[[1.0, 0.0]] * 2, np.zeros((2, 2))]))
    semantic = np.zeros((8, 8), np.uint8)
    seed = {"class_ids": [0, 1], **cam, "attention": None, "confident_map": encode_png(semantic)}
    mask = {"class_name": "cat", "class_id": 0, "score": 1, "quality": 0.5, "area": 64, "bbox": [0, 0, 8, 8], "rle": ""}
    label: dict[str, Any] = {"tags": ["cat", "dog"], "width": 8, "height": 8, "fingerprint": plan.version}
    names = plan.table["image_id"].to_pylist()
    labels, seeds = plan.shards("labels"), plan.shards("seeds")
    seeds.commit(0, tables.SEEDS, [{"image_id": name, "uri": name, **seed} for name in names])
    rows = []
    for number, name in enumerate(names):
        error = None if name in labelled else {"stage": "labels", "kind": "worker-died", "message": "It died."}
        found = [mask] * (number % 2)
        full = {**label, "instances": found, "semantic": encode_png(semantic + number % 2)} if not error else {}
        rows.append({"image_id": name, "uri": name, "error": error, **full})
    labels.commit(0, tables.LABELS, rows)
    for shards, schema in ((seeds, tables.SEEDS), (labels, tables.LABELS)):
        shards.seal(0, schema, names)


def finish(plan: Plan) -> tuple[api.LabelResult, str]:
    """Label a run that is done already. Returns the result, and what was printed."""
    printed = io.StringIO()
    data = Path(plan.out.local_path).parent / "data"
    console = Console(file=printed, width=20)
    accept = ["no-absence"]  # each image has both tags
    made = api.label(data, plan.out.local_path, shards=1, backbone="lite0", accept=accept, console=console)
    return made, printed.getvalue()


def test_a_missing_report_is_made_from_the_tables_of_a_finished_run(no_ray: None, done: Plan) -> None:
    result, printed = finish(done)
    report = json.loads((Path(result.out) / "report.json").read_text())
    assert report == result.report and report["version"] == result.version == done.version
    assert (result.images, result.labels, result.errors, result.instances) == (140, 120, 20, 60)
    assert (report["images"], report["labels"], report["errors"]) == (140, 120, 20)
    assert report["errors_by_kind"] == {"worker-died": 20}
    left_out = [(left["reason"], left["files"], left["examples"]) for left in report["account"]["left_out"]]
    assert (report["account"]["seen"], report["account"]["images"]) == (142, 140)
    assert left_out == [("not an image", 1, ["notes.txt"]), ("holds the tags", 1, ["tags.csv"])]
    overall, cat = report["overall"], report["classes"]["cat"]
    assert (overall["images"], overall["images_without_instance"], overall["mean_quality"]) == (120, 60, 0.5)
    assert report["images_by_instances"] == {"0": 60, "1": 60, "2": 0, "3": 0, "4": 0, "5+": 0}
    # In the labels, every second image is all cat; in the CAM, half of every image is.
    assert (cat["label_share_in_its_images"], cat["cam_share_in_its_images"]) == (0.5, 0.5)
    assert cat["cam_label_iou"] == pytest.approx((60 * 2) / (60 * 2 + 60 * 4))
    assert (report["classifier"]["weak"], report["classifier"]["not_measured"]) == (["cat"], 1)
    assert "mean AP 0.25 of 1 tag on 9 held-out images; 1 tag could not be measured" in printed
    assert "weak tags, AP under 0.5: cat 0.25. " in printed and "everything is done already" in printed


def test_the_report_of_a_version_is_made_once(no_ray: None, done: Plan) -> None:
    report = finish(done)[0].report
    done.out.write_json("report.json", {**report, "note": "as found"})
    assert finish(done)[0].report == {**report, "note": "as found"}
    done.out.write_json("report.json", {**report, "version": "another", "note": "as found"})
    assert finish(done)[0].report == report
    assert done.out.read_json("report.json") == report


def test_a_run_of_errors_alone_has_a_report_too(no_ray: None, done: Plan) -> None:
    for stage in ("seeds", "labels"):
        done.stage(stage).delete()
    write_tables(done, [])
    report = finish(done)[0].report
    assert (report["labels"], report["errors"], report["overall"]["images"]) == (0, IMAGES, 0)
    assert report["errors_by_kind"] == {"worker-died": IMAGES} and report["unusual"] == []


def test_labels_of_other_weights_are_refused(no_ray: None, done: Plan) -> None:
    finish(done)
    done.stage("irnet").write("weights.safetensors", b"others")
    with pytest.raises(UserError, match="are not those that made the labels in .*: delete the labels' folder"):
        finish(done)


def test_the_hint_to_relabel_is_for_other_images_under_the_same_config(done: Plan) -> None:
    assert relabel_hint(done) is None  # no version yet
    config = done.config.model_dump(mode="json")
    known = {"version": "0", "shards": 1, "vocabulary": ["cat"], "config": config}
    known["stages"] = {**done.names, "images": "images-other"}
    done.stage("classifier").delete()  # the networks for these images are not trained yet
    for changes, hinted in (({}, True), ({"stages": done.names}, False), ({"config": {**config, "seed": 1}}, False)):
        done.out.write_json("current.json", Version({**known, **changes}).content)
        assert (relabel_hint(done) is not None) == hinted, changes
    done.out.write_json("current.json", known)
    assert f"irnet-ray relabel {done.out.location}" in str(relabel_hint(done))
