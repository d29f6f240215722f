"""A change restarts exactly the stages that depend on it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from irnet_ray import tables
from irnet_ray.commands.plan import Plan
from irnet_ray.stages.graph import STAGES

EVERYTHING = {"images", "tags", *STAGES}
TRAINED = set(STAGES)


def differing(one: Plan, other: Plan) -> set[str]:
    return {stage for stage, name in one.names.items() if other.names[stage] != name}


@pytest.mark.parametrize(
    ("knobs", "reached"),
    [
        ({}, set()),
        ({"unit_size": 3}, set()),
        ({"image_seconds": 5.0}, set()),
        ({"labels": {"beta": 8.0}}, {"labels"}),
        ({"irnet": {"epochs": 9}}, {"irnet", "labels"}),
        ({"seeds": {"foreground": 0.4}}, {"seeds", "irnet", "labels"}),
        ({"seeds": {"prototypes": 4}}, {"prototypes", "seeds", "irnet", "labels"}),
        ({"seeds": {"prototype_images": 4}}, {"tags", "prototypes", "seeds", "irnet", "labels"}),
        ({"classifier": {"epochs": 9}}, TRAINED),
        ({"seed": 1}, TRAINED),
        ({"max_side": 640}, TRAINED),
        ({"backbone": "resnet50"}, TRAINED),
    ],
)
def test_a_knob_changes_its_stage_and_those_after_it(
    make_plan: Callable[..., Plan], knobs: dict[str, Any], reached: set[str]
) -> None:
    merged = {
        key: {**getattr(make_plan().config, key).model_dump(), **value} if isinstance(value, dict) else value
        for key, value in knobs.items()
    }
    assert differing(make_plan(), make_plan(**merged)) == reached


def test_a_window_reaches_all_that_see_deep_images_and_nothing_without_any(
    make_plan: Callable[..., Plan], scenes: Path, tmp_path: Path
) -> None:
    assert differing(make_plan(), make_plan(window=(0, 4095))) == set()
    deep = tmp_path / "deep"
    shutil.copytree(scenes, deep)
    first = deep / "images" / "scene_00000.png"
    Image.fromarray(np.asarray(Image.open(first).convert("L")).astype(np.uint16) * 16).save(first)
    assert differing(make_plan(deep), make_plan(deep, window=(0, 4095))) == TRAINED
    assert make_plan(deep).depths.lines() == ["1 image of 16 bits, scaled by their 12-bit range"]


def test_the_number_of_shards_changes_every_table_but_not_the_classifier(make_plan: Callable[..., Plan]) -> None:
    assert differing(make_plan(), make_plan(shards=3)) == EVERYTHING - {"classifier"}


def test_fingerprints_follow_the_content_not_the_place(
    make_plan: Callable[..., Plan], scenes: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(scenes, moved)
    assert differing(make_plan(), make_plan(moved)) == {"images", "tags", "labels"}  # their rows hold the uri
    tags = (moved / "tags.csv").read_text().splitlines()
    (moved / "tags.csv").write_text("\n".join([tags[0], *reversed(tags[1:])]) + "\n")
    assert differing(make_plan(), make_plan(moved)) == {"images", "tags", "labels"}
    shutil.copy(moved / "images" / "scene_00000.png", moved / "images" / "scene_00001.png")
    assert differing(make_plan(), make_plan(moved)) == EVERYTHING


def test_tags_change_every_stage(make_plan: Callable[..., Plan], scenes: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(scenes, moved)
    before = make_plan(moved)
    text = (moved / "tags.csv").read_text()
    (moved / "tags.csv").write_text(text.replace("scene_00000.png,", "scene_00000.png,another;"))
    assert differing(before, make_plan(moved)) == EVERYTHING


def test_weights_are_compared_by_their_bytes(make_plan: Callable[..., Plan], tmp_path: Path) -> None:
    for name, value in (("a.pth", 1.0), ("b.pth", 1.0), ("c.pth", 2.0)):
        torch.save({"w": torch.full((2,), value)}, tmp_path / name)
    shutil.copy(tmp_path / "a.pth", tmp_path / "b.pth")
    a, b, c = (make_plan(weights=str(tmp_path / name)) for name in ("a.pth", "b.pth", "c.pth"))
    assert differing(a, b) == set()
    assert differing(a, c) == TRAINED == differing(make_plan(), a)


def test_names_carry_the_stage_and_the_version_that_of_labels(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan()
    assert set(plan.names) == EVERYTHING
    assert all(name.startswith(f"{stage}-") for stage, name in plan.names.items())
    assert plan.names["labels"] == f"labels-{plan.version}"
    assert len(set(plan.names.values())) == len(EVERYTHING)


def test_every_image_is_in_its_shard_of_the_images_table(plan: Plan) -> None:
    shards = plan.shards("images")
    parts = [shards.rows.read_table(name) for name in shards.rows.files()]
    assert shards.rows.files() == ["part-00000-of-00002.parquet", "part-00001-of-00002.parquet"]
    assert pa.concat_tables(parts).sort_by("image_id") == plan.table
    for number, part in enumerate(parts):
        assert part.schema == tables.IMAGES
        assert part["image_id"].to_pylist() == plan.ids_by_shard.get(number, [])
        assert all(tables.shard_of(i, 2) == number for i in part["image_id"].to_pylist())
    before = [(Path(shards.rows.local_path) / name).stat().st_ino for name in shards.rows.files()]
    plan.write_inputs()
    assert before == [(Path(shards.rows.local_path) / name).stat().st_ino for name in shards.rows.files()]


def test_every_tag_is_in_its_shard_of_the_tags_table_with_its_images(plan: Plan) -> None:
    shards = plan.shards("tags")
    rows = [row for name in shards.rows.files() for row in shards.rows.read_table(name).to_pylist()]
    assert sorted(row["image_id"] for row in rows) == plan.vocabulary
    images = plan.table.to_pylist()
    for row in rows:
        assert set(row["uris"]) == {image["uri"] for image in images if row["image_id"] in image["tags"]}
        assert row["uri"] == row["uris"][0]


def test_a_tag_has_no_more_images_than_wanted_and_the_same_from_any_place(
    make_plan: Callable[..., Plan], scenes: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(scenes, moved)
    one, other = (make_plan(data, seeds={"prototype_images": 2}).tags for data in (scenes, moved))
    assert max(map(len, one["uris"].to_pylist())) == 2
    names = [[[Path(uri).name for uri in row] for row in table["uris"].to_pylist()] for table in (one, other)]
    assert names[0] == names[1]


def test_without_prototypes_their_stage_is_left_out(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan(seeds={"method": "cam"})
    assert [stage.name for stage in plan.order] == [name for name in STAGES if name != "prototypes"]
    plan.write_inputs()
    assert not plan.shards("tags").rows.files()


def test_states_follow_the_files(plan: Plan) -> None:
    states = {stage.name: plan.state(stage) for stage in plan.order}
    assert states == {
        "classifier": "to do",
        "prototypes": f"0 of {len(plan.vocabulary)} tags done",
        "seeds": "0 of 6 images done",
        "irnet": "to do",
        "labels": "0 of 6 images done",
    }
    plan.stage("classifier").write_json("progress.json", {"iteration": 7})
    assert plan.state(STAGES["classifier"]) == "interrupted at iteration 7"
    plan.stage("classifier").write("weights.safetensors", b"")
    seeds = plan.shards("seeds")
    schema = pa.schema([pa.field("image_id", pa.string(), nullable=False)])
    shard, ids = next(iter(plan.ids_by_shard.items()))
    seeds.commit(shard, schema, [{"image_id": ids[0], "uri": "x"}])
    assert (plan.state(STAGES["classifier"]), plan.state(STAGES["seeds"])) == ("done", "1 of 6 images done")
    for shard in range(2):
        ids = plan.ids_by_shard.get(shard, [])
        seeds.commit(shard, schema, [{"image_id": i, "uri": "x"} for i in ids])
        assert not plan.is_done(STAGES["seeds"])
        seeds.seal(shard, schema, ids)
    assert plan.is_done(STAGES["seeds"]) and plan.state(STAGES["seeds"]) == "done"


def test_unreadable_headers_are_counted(make_plan: Callable[..., Plan], scenes: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(scenes, moved)
    (moved / "images" / "scene_00000.png").write_bytes(b"no image")
    assert (make_plan().usable, make_plan(moved).usable) == (6, 5)
