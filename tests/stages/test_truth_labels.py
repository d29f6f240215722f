"""Truth as labels: every instance, crowds without a class, and folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pycocotools import mask as coco

from irnet_ray.evaluation.average_precision import TruthInstance
from irnet_ray.evaluation.truth import TruthImage, load_truth
from irnet_ray.inputs.folder import read_folder
from irnet_ray.masks import decode_masks, decode_png
from irnet_ray.runs.folder import Folder
from irnet_ray.stages.label_rows import IGNORED
from irnet_ray.stages.truth_labels import truth_row, write_truth


def true(name: str, rows: slice, columns: slice, crowd: bool = False) -> TruthInstance:
    mask = np.zeros((6, 8), np.uint8)
    mask[rows, columns] = 1
    return TruthInstance("a.jpg", name, coco.encode(np.asfortranarray(mask)), crowd)


def test_a_row_holds_instances_and_a_map_with_crowds_ignored() -> None:
    everything = slice(None)
    image = TruthImage(
        6,
        8,
        [
            true("dog", slice(0, 2), everything),
            true("cat", slice(4, 6), slice(0, 4)),
            true("dog", slice(3, 6), slice(4, 8), crowd=True),
        ],
    )
    row = truth_row("a.jpg", "/a.jpg", image, "mark")
    assert (row["tags"], row["width"], row["height"]) == (["cat", "dog"], 8, 6)
    assert [(i["class_name"], i["area"]) for i in row["instances"]] == [("dog", 16), ("cat", 8)]
    assert decode_masks(row["instances"], (6, 8)).sum(axis=(1, 2)).tolist() == [16, 8]
    semantic = decode_png(row["semantic"])
    assert (semantic[:2] == 2).all() and (semantic[4:, :4] == 1).all() and (semantic[3:, 4:] == IGNORED).all()
    assert (semantic[2] == 0).all()


def test_folds_share_out_the_images_that_have_truth(tmp_path: Path) -> None:
    from irnet_ray.scenes.generate import generate

    data = generate(tmp_path / "scenes", 9, (64, 64))
    truth = load_truth(data / "truth.json").images
    images = read_folder(data, 2)
    known = {name: truth[name] for name in sorted(truth)[:7]}
    parts = write_truth(Folder(str(tmp_path / "out")), images, known, 3)
    ids = [parts.rows.read_table(name)["image_id"].to_pylist() for name in parts.rows.files()]
    assert sorted(sum(ids, [])) == sorted(known)
    before = {name: (Path(parts.rows.local_path) / name).stat().st_mtime_ns for name in parts.rows.files()}
    assert write_truth(Folder(str(tmp_path / "out")), images, known, 3) == parts
    assert before == {name: (Path(parts.rows.local_path) / name).stat().st_mtime_ns for name in parts.rows.files()}
