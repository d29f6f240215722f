"""What an export reads of a run: every image once, numbered by its id, with its instances divided by reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from irnet_ray.errors import UserError
from irnet_ray.exports.labels import Counts, Labeled
from tests.exports.runs import box, image, instance, labels_of, write_run

MASK = box((6, 8), (0, 0, 6, 3))


def test_images_are_numbered_in_order_of_their_ids(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(20)]
    run = write_run(tmp_path / "run", [image(name) for name in reversed(names)], shards=3)
    labels = labels_of(run, shards=3)
    numbers = {labeled.row["image_id"]: labeled.number for labeled in labels.stream(["image_id"])}
    assert numbers == {name: number for number, name in enumerate(sorted(names), start=1)}
    assert labels.images["image_id"].to_pylist() == sorted(names)


def test_each_instance_is_kept_or_left_out_for_the_first_reason(tmp_path: Path) -> None:
    figures = [(0.2, 0.2), (0.2, 0.9), (0.9, 0.9)]
    instances = [instance(MASK, score=score, quality=quality) for score, quality in figures]
    run = write_run(tmp_path / "run", [image("a.png", [*instances, instance(~MASK & MASK, quality=0.9, score=0.9)])])
    (labeled,) = labels_of(run, min_quality=0.5, min_score=0.5).stream([])
    assert [round(one["score"], 1) for one in labeled.kept] == [0.9]
    assert {reason: len(ones) for reason, ones in labeled.left_out.items()} == {
        "of quality below 0.5": 1,
        "of score below 0.5": 1,
        "without a pixel": 1,
    }


def test_the_best_instances_stay_in_order() -> None:
    kept = [{"score": score} for score in (0.1, 0.9, 0.5, 0.7)]
    best = Labeled(1, {}, kept, {"poor": []}).fewer("too many", 2)
    assert [one["score"] for one in best.kept] == [0.9, 0.7]
    assert [one["score"] for one in best.left_out["too many"]] == [0.1, 0.5] and "poor" in best.left_out
    assert best.fewer("too many", 2) is best


def test_a_class_outside_the_vocabulary_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [image("a.png", [instance(MASK, "emu")])])
    with pytest.raises(UserError, match="holds the class 'emu', which the run's current.json does not name"):
        list(labels_of(run).stream([]))


def test_counts_add_up() -> None:
    counts = Counts()
    counts.add(Labeled(1, {}, [{}, {}], {"poor": [{}]}), "train")
    counts.add(Labeled(2, {}, [], {"poor": [{}, {}]}), "val")
    counts.add(Labeled(3, {}, [{}], {}))
    assert (counts.images, counts.empty, counts.annotations) == (3, 1, 3)
    assert counts.left_out == {"poor": 3} and counts.splits == {"train": 1, "val": 1}
