"""`irnet-ray label` from a folder of tagged images to Parquet files that other tools can read."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

import irnet_ray
from irnet_ray import tables
from irnet_ray.masks import decode_png
from irnet_ray.report.lines import report_lines
from tests.end_to_end.conftest import BROKEN, IMAGES, SCENES, SHARDS, Run

PARTS = [f"part-{shard:05d}-of-{SHARDS:05d}.parquet" for shard in range(SHARDS)]


def rows(folder: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return [row for path in sorted(folder.iterdir()) for row in pq.read_table(path).to_pylist()]


def test_it_prints_a_plan_first_and_the_counts_last(run: Run) -> None:
    lines = run.printed.splitlines()
    assert lines[0].startswith("data     ") and lines[1].startswith("account  ")
    plan = next(
        place for place, line in enumerate(lines) if line.startswith(f"{IMAGES} images, 6 tags (checkered-box ")
    )
    assert f", {SHARDS} shards, backbone lite0, version " in lines[plan]
    nothing = f"0 of {IMAGES} images done"
    tags = "prototypes: 0 of 6 tags done"
    assert lines[plan + 1] == f"classifier: to do, {tags}, seeds: {nothing}, irnet: to do, labels: {nothing}"
    assert lines[plan + 2].startswith("devices: ") and "CPU core" in lines[plan + 2]
    assert f"{IMAGES} images = {SCENES} labels + 1 errors" in run.printed
    assert f"labels  {run.out}/labels/*.parquet" in lines
    assert "Traceback" not in run.printed


@pytest.mark.parametrize("table", ["labels", "errors", "images"])
def test_every_table_has_exactly_the_shards_asked_for(run: Run, table: str) -> None:
    assert sorted(path.name for path in (run.out / table).iterdir()) == PARTS


def test_every_image_is_once_in_labels_or_in_errors(run: Run) -> None:
    scenes = [f"scene_{number:05d}.png" for number in range(SCENES)]
    assert sorted(row["image_id"] for row in rows(run.out / "labels")) == scenes
    assert sorted(row["image_id"] for row in rows(run.out / "images")) == [BROKEN, *scenes]
    for table in ("labels", "errors", "images"):
        for shard, name in enumerate(PARTS):
            held = rows_of(run.out / table / name)
            assert held == sorted(held) and all(tables.shard_of(i, SHARDS) == shard for i in held)


def rows_of(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    return [str(i) for i in pq.read_table(path)["image_id"].to_pylist()]


def test_a_broken_photo_is_one_row_of_errors(run: Run) -> None:
    (error,) = rows(run.out / "errors")
    assert (error["image_id"], error["stage"], error["kind"]) == (BROKEN, "seeds", "unreadable")
    assert error["uri"] == str(run.data / "images" / BROKEN) and error["message"].startswith(error["uri"])


def test_labels_name_their_image_tags_and_version(run: Run) -> None:
    version = json.loads((run.out / "current.json").read_text())
    tags = dict(line.split(",") for line in (run.data / "tags.csv").read_text().splitlines()[1:])
    found = 0
    for row in rows(run.out / "labels"):
        assert row["tags"] == tags[row["image_id"]].split(";")
        assert (row["width"], row["height"], row["fingerprint"]) == (128, 96, version["version"])
        assert row["uri"] == str(run.data / "images" / row["image_id"])
        for instance in row["instances"]:
            assert instance["class_name"] in row["tags"]
            assert version["vocabulary"][instance["class_id"]] == instance["class_name"]
            assert 0 < instance["score"] <= 1 and 0 <= instance["quality"] <= 1
            found += 1
    assert found > SCENES // 2


def test_masks_and_maps_decode(run: Run) -> None:
    for row in rows(run.out / "labels"):
        semantic = np.asarray(Image.open(io.BytesIO(row["semantic"])))
        assert semantic.shape == (96, 128) and semantic.dtype == np.uint8
        assert set(np.unique(semantic)) <= set(range(len(row["tags"]) + 1))
        covered = np.zeros((96, 128), int)
        for instance in row["instances"]:
            rle = {"size": [row["height"], row["width"]], "counts": instance["rle"].encode()}
            mask = coco.decode(rle).astype(bool)
            covered += mask
            assert mask.sum() == instance["area"] == coco.area(rle)
            assert instance["bbox"] == list(coco.toBbox(rle))
        assert covered.max(initial=0) <= 1  # a pixel belongs to one instance


def test_duckdb_reads_every_column(run: Run) -> None:
    duckdb = pytest.importorskip("duckdb")
    schemas = {"labels": tables.LABELS, "errors": tables.ERRORS, "images": tables.IMAGES}
    for table, schema in schemas.items():
        result = duckdb.sql(f"select * from '{run.out}/{table}/*.parquet'")
        assert result.columns == schema.names
        assert len(result.fetchall()) == len(rows(run.out / table))
    instances = f"(select unnest(instances) i from '{run.out}/labels/*.parquet')"
    query = f"select sum(i.area), count(distinct i.class_name), max(length(i.rle)) from {instances}"
    area, classes, longest = duckdb.sql(query).fetchall()[0]
    every = [instance for row in rows(run.out / "labels") for instance in row["instances"]]
    assert (area, classes) == (sum(i["area"] for i in every), len({i["class_name"] for i in every}))
    assert longest == max(len(i["rle"]) for i in every)


def test_pandas_reads_every_column(run: Run) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.concat(pandas.read_parquet(run.out / "labels" / name) for name in PARTS)
    assert list(frame.columns) == tables.LABELS.names and len(frame) == SCENES
    expected = {row["image_id"]: row for row in rows(run.out / "labels")}
    for row in frame.to_dict("records"):
        other = expected[row["image_id"]]
        assert (list(row["tags"]), row["semantic"]) == (other["tags"], other["semantic"])
        assert [i["rle"] for i in row["instances"]] == [i["rle"] for i in other["instances"]]


def test_the_effective_config_is_in_the_run(run: Run) -> None:
    chosen = json.loads((run.out / "config.json").read_text())
    assert (chosen["backbone"], chosen["unit_size"], chosen["classifier"]["rate"]) == ("lite0", 2, 0.02)
    assert chosen["irnet"]["radius"] == 10


def test_both_trainings_left_their_history(run: Run) -> None:
    version = json.loads((run.out / "current.json").read_text())
    for stage, iterations in (("classifier", [20, 40]), ("irnet", [6, 12])):
        folder = run.out / "stages" / version["stages"][stage]
        history = json.loads((folder / "history.json").read_text())
        assert [epoch["iteration"] for epoch in history] == iterations
        assert all(np.isfinite(list(epoch["losses"].values())).all() for epoch in history)
        assert not (folder / "training").exists()
    classifier = json.loads((run.out / "stages" / version["stages"]["classifier"] / "history.json").read_text())
    assert classifier[-1]["losses"]["total"] < 0.5 * classifier[0]["losses"]["total"]


def test_the_report_agrees_with_the_tables_and_is_shown(run: Run) -> None:
    report = json.loads((run.out / "report.json").read_text())
    labels = rows(run.out / "labels")
    assert report["version"] == current(run)["version"]
    assert (report["images"], report["labels"], report["errors"]) == (IMAGES, SCENES, 1)
    assert report["errors_by_kind"] == {"unreadable": 1}
    instances = [len(row["instances"]) for row in labels]
    overall, semantics = report["overall"], [decode_png(row["semantic"]) for row in labels]
    assert (overall["images"], overall["instances"]) == (SCENES, sum(instances))
    assert overall["images_without_instance"] == report["images_by_instances"]["0"] == instances.count(0)
    assert sum(report["images_by_instances"].values()) == SCENES
    assert overall["pixels"] == sum(int((semantic > 0).sum()) for semantic in semantics)
    assert 0 < overall["cam_label_iou"] <= 1 and 0 < overall["cam_share_in_its_images"] < 1
    for name, one in report["classes"].items():
        assert one["images"] == sum(name in row["tags"] for row in labels)
        assert one["instances"] == sum(i["class_name"] == name for row in labels for i in row["instances"])
    measured = run.out / "stages" / current(run)["stages"]["classifier"] / "measured.json"
    assert report["classifier"]["tags"] == json.loads(measured.read_text())["tags"]
    printed = run.printed.splitlines()
    begin = printed.index(f"look    irnet-ray show {run.out}")
    assert printed[begin + 1 :] == ["", *report_lines(report)] and "errors: unreadable 1" in printed
    assert any(line.startswith("classifier: ") and "measured" in line for line in printed[2:begin])


def current(run: Run) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run.out / "current.json").read_text())
    return content


def test_the_same_command_again_starts_nothing(run: Run) -> None:
    before, report = files(run.out), (run.out / "report.json").stat()
    # Modules that take seconds to import are blocked.
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'ray', 'scipy', 'numba', 'sklearn'))); "
        "from irnet_ray.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *run.command(run.out)[2:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "devices:" not in done.stdout and "computed" not in done.stdout.replace("nothing is computed", "")
    assert "classifier: done, prototypes: done, seeds: done, irnet: done, labels: done" in done.stdout
    assert f"{IMAGES} images = {SCENES} labels + 1 errors" in done.stdout
    assert files(run.out) == before
    assert (run.out / "report.json").stat() == report
    assert done.stdout.endswith("\n".join(report_lines(json.loads((run.out / "report.json").read_text()))) + "\n")


def files(out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file of the stages."""
    found = [path for path in (out / "stages").rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def test_the_verbs_are_functions_too(run: Run, tmp_path: Path) -> None:
    result = irnet_ray.label(run.data, run.out, shards=SHARDS, config=run.config)
    assert (result.images, result.labels, result.errors, result.truth) == (IMAGES, SCENES, 1, None)
    assert result.report == json.loads((run.out / "report.json").read_text())
    evaluation = irnet_ray.evaluate(run.out, run.data / "truth.json")
    assert set(evaluation.to_json()) and "mIoU" in evaluation.table()
    three = irnet_ray.show(run.out, limit=3, to=tmp_path / "3.png")
    one = irnet_ray.show(run.out, ["scene_00003.png"], to=tmp_path / "1.png")
    with Image.open(one) as small, Image.open(three) as large:
        assert small.width == large.width
        assert 2.5 * small.height < large.height < 3.5 * small.height
        assert len(small.convert("RGB").getcolors(1 << 24) or []) > 1000
