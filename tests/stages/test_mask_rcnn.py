"""Mask R-CNN's task: samples whose boxes fit their masks, and predictions of a trained network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from irnet_ray.commands.train import student_config
from irnet_ray.masks import decode_masks
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun
from irnet_ray.stages.label_rows import LabelRows
from irnet_ray.stages.mask_rcnn import COLUMNS, MaskRCNNPredictor, MaskRCNNTask, build
from irnet_ray.stages.student_kinds import KINDS
from irnet_ray.stages.students import Student
from tests.labelled import labelled_scenes

pytest.importorskip("timm")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Student, LabelRows, list[dict[str, Any]]]:
    run = FinishedRun.open(labelled_scenes(tmp_path_factory.mktemp("scenes"), 4))
    student = Student(KINDS["mask-rcnn"], student_config(run, KINDS["mask-rcnn"]), tuple(run.vocabulary), "0")
    folder = run.shards("labels").rows
    rows = LabelRows.of(student.knobs, folder, folder.files())
    return student, rows, [row for part in rows.parts for row in folder.stream_rows(part, ["image_id", *COLUMNS])]


@pytest.fixture(scope="module")
def task(made: tuple[Student, LabelRows, list[dict[str, Any]]]) -> MaskRCNNTask:
    torch.manual_seed(0)
    return MaskRCNNTask(*made[:2])


def test_a_sample_matches_its_label_and_is_mirrored_half_of_the_time(
    made: tuple[Student, LabelRows, list[dict[str, Any]]], task: MaskRCNNTask
) -> None:
    student, _, rows = made
    mirrored = 0
    for seed in range(8):
        row = rows[seed % len(rows)]
        sample = task.sample(row, np.random.default_rng(seed))
        assert sample is not None
        masks = decode_masks(row["instances"], (row["height"], row["width"]))
        seen = sample["masks"].numpy().astype(bool)
        flipped = not np.array_equal(seen, masks)
        assert np.array_equal(seen[:, :, ::-1] if flipped else seen, masks)
        mirrored += flipped
        assert [student.vocabulary[n - 1] for n in sample["labels"].tolist()] == [
            i["class_name"] for i in row["instances"]
        ]
        for mask, (left, top, right, bottom) in zip(seen, sample["boxes"].int().tolist(), strict=True):
            ys, xs = np.nonzero(mask)
            assert (left, top, right, bottom) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert sample["image"].shape == (3, row["height"], row["width"])
    assert 0 < mirrored < 8


def test_an_image_that_cannot_be_decoded_gives_no_sample(
    made: tuple[Student, LabelRows, list[dict[str, Any]]], task: MaskRCNNTask
) -> None:
    assert task.sample({**made[2][0], "uri": "/nowhere.jpg"}, np.random.default_rng(0)) is None


def test_a_large_image_and_its_masks_are_resized(
    made: tuple[Student, LabelRows, list[dict[str, Any]]],
) -> None:
    student, rows, found = made
    small = Student(student.kind, student.config.model_copy(update={"max_side": 64}), student.vocabulary, "0")
    sample = MaskRCNNTask(small, rows).sample(found[0], np.random.default_rng(0))
    assert sample is not None
    assert max(sample["image"].shape) == 64
    assert sample["masks"].shape[1:] == sample["image"].shape[1:]


def test_an_image_without_instances_is_background(
    made: tuple[Student, LabelRows, list[dict[str, Any]]], task: MaskRCNNTask
) -> None:
    sample = task.sample({**made[2][0], "instances": []}, np.random.default_rng(0))
    assert sample is not None
    assert (sample["boxes"].shape, sample["labels"].shape) == ((0, 4), (0,))
    terms = task.losses(task.model.train(), task.collate([sample, sample]))
    assert all(torch.isfinite(term) for term in terms.values())


def test_a_trained_network_predicts_with_its_weights(
    made: tuple[Student, LabelRows, list[dict[str, Any]]], tmp_path: Path
) -> None:
    from safetensors.torch import save

    student, _, rows = made
    torch.manual_seed(1)
    folder = Folder(str(tmp_path))
    folder.write("weights.safetensors", save({k: v.contiguous() for k, v in build(student).state_dict().items()}))
    masks, classes, scores, semantic = MaskRCNNPredictor(student, folder, gpu=False)(
        np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    )
    assert masks.shape == (len(classes), 96, 128) and masks.dtype == bool
    assert (scores >= student.config.mask_rcnn.threshold).all()
    assert semantic.shape == (96, 128)
    # The mask with the highest score lies on top.
    if len(scores):
        assert (semantic[masks[np.argmax(scores)]] == classes[np.argmax(scores)] + 1).all()
