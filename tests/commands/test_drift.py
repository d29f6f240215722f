"""How labels changed from one version to the next."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco

from irnet_ray import tables
from irnet_ray.commands.drift import drift_lines, instance_iou, measure, semantic_iou
from irnet_ray.errors import UserError
from irnet_ray.masks import encode_mask, encode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from tests.nights import SHARDS, SIDE, Row


def mask(*, top: int, bottom: int, name: str = "cat") -> Row:
    found = np.zeros((SIDE, SIDE), bool)
    found[top:bottom] = True
    return {"class_name": name, "class_id": 0, "score": 0.5, "quality": 0.5, **encode_mask(found)}


def label_of(image_id: str, *instances: Row, tags: tuple[str, ...] = ("cat", "dog"), side: int = SIDE) -> Row:
    semantic = np.zeros((side, side), np.uint8)
    for instance in instances:
        decoded = coco.decode({"size": [SIDE, SIDE], "counts": instance["rle"].encode()}).astype(bool)
        semantic[decoded] = tags.index(instance["class_name"]) + 1
    png = encode_png(semantic)
    size = {"width": side, "height": side}
    return {"image_id": image_id, "uri": "", "tags": list(tags), **size, "instances": list(instances), "semantic": png,
            "fingerprint": ""}  # fmt: skip


def test_iou_of_semantic_labels_is_by_class_name() -> None:
    one = label_of("a", mask(top=0, bottom=4), mask(top=4, bottom=8, name="dog"))
    assert semantic_iou(one, one) == 1
    retagged = label_of("a", mask(top=0, bottom=4), mask(top=4, bottom=8, name="dog"), tags=("dog", "cat"))
    assert semantic_iou(one, retagged) == 1  # the same pixels under other numbers
    less = label_of("a", mask(top=0, bottom=2), mask(top=4, bottom=8, name="dog"))
    assert semantic_iou(one, less) == pytest.approx((2 / 4 + 1) / 2)
    assert semantic_iou(one, label_of("a", mask(top=0, bottom=4))) == pytest.approx((1 + 0) / 2)
    assert semantic_iou(label_of("a"), label_of("a")) == 1 and semantic_iou(one, label_of("a")) == 0


def test_iou_of_instances_is_of_the_best_pairs_of_one_class() -> None:
    one = label_of("a", mask(top=0, bottom=4), mask(top=4, bottom=8))
    swapped = label_of("a", mask(top=4, bottom=8), mask(top=0, bottom=4))
    assert instance_iou(one, one) == instance_iou(one, swapped) == 1
    assert instance_iou(one, label_of("a", mask(top=0, bottom=8))) == pytest.approx(
        0.5 / 2
    )  # merged: one has no partner
    assert instance_iou(one, label_of("a", mask(top=0, bottom=4, name="dog"))) == 0
    assert instance_iou(label_of("a"), label_of("a")) == 1 and instance_iou(label_of("a"), one) == 0


def labels_table(folder: Path, labels: list[Row], failed: list[str]) -> Shards:
    shards = Shards(Folder(str(folder)), SHARDS)
    errors = [
        {"image_id": name, "uri": "", "error": {"stage": "labels", "kind": "worker-died", "message": ""}}
        for name in failed
    ]
    for shard in range(SHARDS):
        mine = [row for row in labels + errors if tables.shard_of(row["image_id"], SHARDS) == shard]
        if mine:
            shards.commit(shard, tables.LABELS, mine)
        shards.seal(shard, tables.LABELS, [row["image_id"] for row in mine])
    return shards


def test_drift_counts_classes_compares_recomputed_labels_and_ranks_what_to_look_at(tmp_path: Path) -> None:
    cat, dog = mask(top=0, bottom=4), mask(top=4, bottom=8, name="dog")
    before = [label_of(name, cat, dog) for name in ("kept", "less", "lost", "fails", "resized", "again")]
    after = [
        label_of("kept", cat, dog), label_of("again", cat, dog), label_of("less", mask(top=0, bottom=2), dog),
        label_of("lost"), label_of("resized", side=SIDE * 2), label_of("new", cat, tags=("cat",)),
    ]  # fmt: skip
    old, new = (
        labels_table(tmp_path / "old", before, ["once"]),
        labels_table(tmp_path / "new", after, ["once", "fails"]),
    )
    reused = {tables.shard_of("kept", SHARDS): {"kept": ""}}
    drift = measure(old, new, reused)
    assert (drift["labels"], drift["instances"]) == ({"before": 6, "after": 6}, {"before": 12, "after": 7})
    assert drift["errors"] == {"before": 1, "after": 2, "new": 1}
    assert drift["classes"] == {
        "cat": {"images": {"before": 6, "after": 6}, "instances": {"before": 6, "after": 4}},
        "dog": {"images": {"before": 6, "after": 5}, "instances": {"before": 6, "after": 3}},
    }
    anew = drift["made_anew"]
    assert {key: anew[key] for key in ("compared", "identical", "other_size", "lost_all")} == {
        "compared": 3, "identical": 1, "other_size": 1, "lost_all": 1,
    }  # fmt: skip
    assert anew["mean_semantic_iou"] == anew["mean_instance_iou"] == pytest.approx((1 + 0.75 + 0) / 3)
    first_ones = [(entry["image_id"], entry["why"]) for entry in drift["look_first"]]
    assert first_ones == [("fails", "error: worker-died"), ("lost", "lost all instances"), ("less", "labels differ")]
    assert drift["look_first"][2]["instances"] == [2, 2]
    lines = drift_lines({"from": "v0", "to": "v1", **json.loads(json.dumps(drift))})
    assert lines[0] == "drift from v0 to v1: labels 6, errors 1 to 2, instances 12 to 7"
    assert lines[1] == "labels recomputed: 3, 1 of them unchanged; mean IoU with the old 0.58, of instances 0.58"
    assert lines[2] == "  dog: images 6 to 5, instances 6 to 3"
    assert lines[-1] == "  look at less: labels differ, IoU 0.75"


def test_a_drift_of_anything_fits_the_terminal() -> None:
    pair = {"before": 10, "after": 20}
    entry = {"image_id": "x\n\x1b[2J" + "y" * 300, "why": "labels differ", "semantic_iou": 0.1, "instance_iou": 0.2}
    drift = {
        "from": "a" * 12, "to": "b" * 12, "labels": pair, "errors": pair, "instances": pair,
        "classes": {f"class {n}\n": {"images": pair, "instances": pair} for n in range(500)},
        "made_anew": {"compared": 5, "identical": 1, "mean_semantic_iou": 0.5, "mean_instance_iou": 0.25},
        "look_first": [{**entry, "instances": [1, 2]}] * 50,
    }  # fmt: skip
    lines = drift_lines(drift)
    assert len(lines) <= 15 and all(len(line) <= 100 and line.isprintable() for line in lines)


@pytest.mark.parametrize("counts", ["0a1000000", "~~~~", "", "04", "\u00e9"])
def test_damaged_counts_of_a_mask_are_refused(counts: str) -> None:
    sound = label_of("a", mask(top=0, bottom=4))
    damaged = {**sound, "instances": [{**sound["instances"][0], "rle": counts}]}
    for pair in ((sound, damaged), (damaged, sound)):
        with pytest.raises(UserError, match="A mask of class cat is not the RLE of"):
            instance_iou(*pair)
