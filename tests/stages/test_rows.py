"""Rows of the map stages. Making them imports no torch: it takes 500 MB in each process, and there is one per core."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from irnet_ray import tables
from irnet_ray.commands.plan import Plan
from irnet_ray.engine.steps import Commit, Finish, Item, Load, MapStage
from irnet_ray.masks import decode_masks, decode_png, encode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.stages import ablation, labels, predictions, prototypes, seeds
from irnet_ray.stages.rows import Ablated, Attention, Masks, Predicted, predictions_row
from irnet_ray.stages.student_kinds import KINDS
from irnet_ray.stages.students import Student

ROW = {"image_id": "a.jpg", "uri": "/a.jpg", "tags": ["sheep"], "width": 12, "height": 8}
VOCABULARY = ("bird", "cat", "dog", "sheep")
RUN = """
import pickle, sys
step, unit = pickle.loads(sys.stdin.buffer.read())
made = step(unit)
taken = {"torch", "timm", "numba"} & sys.modules.keys()
sys.stdout.buffer.write(pickle.dumps((made, taken)))
"""


def elsewhere(step: Callable[[dict[str, Any]], dict[str, Any]], unit: dict[str, Any]) -> dict[str, Any]:
    """Run a step on a unit in a process of its own. Returns its result, and checks that torch was not imported."""
    given = pickle.dumps((step, unit))
    said = subprocess.run([sys.executable, "-c", RUN], input=given, capture_output=True, check=True).stdout
    made, taken = pickle.loads(said)
    assert taken == set()
    return made


def stages(plan: Plan, out: Folder) -> dict[str, tuple[MapStage, Any]]:
    """Each map stage over images, and an output of its network for an image of 96x128 pixels with one tag."""
    images, rows = plan.shards("images"), plan.shards("seeds")
    size, grid = (96, 128), (24, 32)
    masks = Masks(np.ones((1, *size), bool), np.zeros(1, np.int64), *np.ones((2, 1)), np.ones(size, np.uint8))
    cam = np.ones((1, *grid), np.float32)
    student = Student(KINDS["deeplab"], plan.config, tuple(plan.vocabulary), "0123")
    return {
        "seeds": (
            seeds.stage(plan.config, images, plan.vocabulary, out, None),
            Attention(np.zeros((*size, 3), np.uint8), cam, cam, np.ones((1, *size), np.float32)),
        ),
        "labels": (labels.stage(plan.config, images, rows, out, "0123"), masks),
        "ablation": (
            ablation.stage(plan.config, images, rows, plan.vocabulary, out, out, out),
            Ablated(masks, masks.semantic, cam),
        ),
        "predict": (
            predictions.stage(student, out, images, "0123"),
            Predicted(masks.masks, masks.class_index, masks.score, np.ones(size, np.int32)),
        ),
    }


@pytest.mark.parametrize("name", ["seeds", "labels", "ablation", "predict"])
def test_an_image_is_loaded_finished_and_committed_without_torch(plan: Plan, tmp_path: Path, name: str) -> None:
    stage, answer = stages(plan, Folder(str(tmp_path / "none")))[name]
    (row, *_), shard = (plan.table.filter(pa.compute.equal(plan.table["shard"], 0)).to_pylist(), 0)
    first = Load(name, stage.sources[:1], stage.load, None)
    (item,) = pickle.loads(elsewhere(first, {"shard": shard, "ids": [row["image_id"]]})["items"])
    assert item.error is None and item.value.shape == (96, 128, 3)

    tagged = {
        **item.row,
        "tags": row["tags"][:1],
        "class_ids": [0],
        "confident_map": encode_png(np.zeros((96, 128), np.uint8)),
    }
    items = pickle.dumps([Item(tagged, answer)])
    finished = elsewhere(Finish.of(stage, None), {"shard": shard, "items": items, "spent": {}})
    out = Shards(Folder(str(tmp_path / "result")), plan.shard_count)
    assert elsewhere(Commit(out, stage.schema), finished)["done"] == 1
    assert out.missing(shard, [row["image_id"]]) == []


def test_a_tag_is_loaded_and_finished_without_torch(plan: Plan, tmp_path: Path) -> None:
    stage = prototypes.stage(plan.config, plan.shards("tags"), plan.vocabulary, Folder(str(tmp_path / "none")))
    shard, tags = next((shard, tags) for shard, tags in plan.tags_by_shard.items() if tags)
    (item,) = pickle.loads(elsewhere(Load.of(stage, None), {"shard": shard, "ids": tags[:1]})["items"])
    answer = {"centers": np.ones((1, 4), np.float16).tobytes(), "attention": [1.0]}
    items = pickle.dumps([Item(item.row, answer)])
    finished = elsewhere(Finish.of(stage, None), {"shard": shard, "items": items, "spent": {}})
    (made,) = pickle.loads(finished["items"])
    assert made["image_id"] == tags[0] and prototypes.prototypes_of(made).centers.shape == (1, 4)


def test_a_prediction_numbers_the_predicted_classes_and_keeps_the_masks() -> None:
    masks = np.zeros((2, 4, 6), bool)
    masks[0, :2, :3] = True
    masks[1, 2:, 3:] = True
    semantic = np.zeros((4, 6), np.int32)
    semantic[:2, :3] = 4  # sheep
    semantic[2:, 3:] = 2  # cat
    row = predictions_row(VOCABULARY, "mark", ROW, Predicted(masks, np.array([3, 1]), np.array([0.9, 0.4]), semantic))
    assert row["tags"] == ["cat", "sheep"]  # predicted, in the vocabulary's order; the image's own tags do not matter
    assert [(i["class_name"], i["class_id"]) for i in row["instances"]] == [("sheep", 3), ("cat", 1)]
    assert [i["score"] for i in row["instances"]] == pytest.approx([0.9, 0.4])
    # The working size is half of the image's own size, which rows have.
    assert decode_masks(row["instances"], (8, 12)).sum(axis=(1, 2)).tolist() == [24, 24]
    map_HW = decode_png(row["semantic"])
    assert (map_HW[:4, :6] == 2).all() and (map_HW[4:, 6:] == 1).all() and (map_HW[:4, 6:] == 0).all()
    pa.Table.from_pylist([{**row, "uri": "/a.jpg"}], tables.LABELS)


def test_an_image_without_predictions_has_a_row() -> None:
    nothing = Predicted(
        np.zeros((0, 4, 6), bool), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros((4, 6), np.int32)
    )
    row = predictions_row(VOCABULARY, "mark", ROW, nothing)
    assert (row["tags"], row["instances"]) == ([], [])
    assert not decode_png(row["semantic"]).any()


def test_more_classes_than_a_semantic_map_can_hold_are_an_error_of_the_image() -> None:
    names = tuple(f"class {n:03d}" for n in range(300))
    semantic = np.arange(1, 301, dtype=np.int32).reshape(10, 30)
    many = Predicted(np.zeros((0, 10, 30), bool), np.zeros(0, np.int64), np.zeros(0, np.float32), semantic)
    with pytest.raises(ValueError, match="300 classes"):
        predictions_row(names, "mark", {**ROW, "width": 30, "height": 10}, many)
