"""Loading and finishing run in one process a core: they take no torch along, whose libraries fill 500 MB in each."""

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

from irnet_ray.commands.plan import Plan
from irnet_ray.engine.steps import Commit, Finish, Item, Load, MapStage
from irnet_ray.masks import encode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.stages import ablation, labels, predictions, prototypes, seeds
from irnet_ray.stages.rows import Ablated, Attention, Masks, Predicted
from irnet_ray.stages.student_kinds import KINDS
from irnet_ray.stages.students import Student

RUN = """
import pickle, sys
step, unit = pickle.loads(sys.stdin.buffer.read())
made = step(unit)
taken = {"torch", "timm", "numba"} & sys.modules.keys()
sys.stdout.buffer.write(pickle.dumps((made, taken)))
"""


def elsewhere(step: Callable[[dict[str, Any]], dict[str, Any]], unit: dict[str, Any]) -> dict[str, Any]:
    """What a step makes of a unit in a process of its own, which has not imported torch then."""
    given = pickle.dumps((step, unit))
    said = subprocess.run([sys.executable, "-c", RUN], input=given, capture_output=True, check=True).stdout
    made, taken = pickle.loads(said)
    assert taken == set()
    return made


def stages(plan: Plan, out: Folder) -> dict[str, tuple[MapStage, Any]]:
    """Each map stage over images, and an answer of its network for an image of 96x128 pixels with one tag."""
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
