"""A student's record on disk, its fingerprint and its schedule."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from irnet_ray.config.load import Config
from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.stages.student_kinds import KINDS, load_student
from irnet_ray.stages.students import RECORD, Student

STUDENT = Student(KINDS["deeplab"], Config(), ("cat", "dog"), "0123")


def test_a_student_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    STUDENT.save(folder)
    folder.write("weights.safetensors", b"")
    assert load_student(folder) == STUDENT
    record = folder.read_json(RECORD)
    assert record["kind"] == "deeplab" and record["vocabulary"] == ["cat", "dog"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "No trained student"),
        ("{", "model.json is damaged"),
        ("{}", "cannot be read by this version"),
        (json.dumps({"kind": "yolo", "config": {}, "vocabulary": [], "labels": ""}), "holds a 'yolo'"),
    ],
)
def test_what_is_no_student_is_said_in_a_sentence(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / RECORD).write_text(content)
        (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=sentence):
        load_student(Folder(str(tmp_path)))


def test_a_record_without_weights_is_no_student(tmp_path: Path) -> None:
    STUDENT.save(Folder(str(tmp_path)))
    with pytest.raises(UserError, match="No trained student"):
        load_student(Folder(str(tmp_path)))


def test_the_fingerprint_changes_with_what_the_weights_follow_from_and_with_nothing_else() -> None:
    longer = Config.model_validate({"deeplab": {"epochs": 21}})
    other = Config.model_validate({"mask_rcnn": {"epochs": 21}})
    changed = [
        replace(STUDENT, config=longer),
        replace(STUDENT, kind=KINDS["mask-rcnn"]),
        replace(STUDENT, kind=replace(KINDS["deeplab"], revision=2)),
        replace(STUDENT, vocabulary=("cat",)),
        replace(STUDENT, labels="4567"),
    ]
    prints = {student.fingerprint([]) for student in (STUDENT, *changed)} | {STUDENT.fingerprint(["held-out.jpg"])}
    assert len(prints) == len(changed) + 2
    assert replace(STUDENT, config=other).fingerprint([]) == STUDENT.fingerprint([])


def test_warming_up_takes_a_tenth_of_the_schedule_at_most() -> None:
    student = replace(STUDENT, kind=KINDS["mask-rcnn"])
    knobs = student.knobs
    assert student.schedule(100_000).warmup == knobs.warmup
    small = student.schedule(10)
    assert small.iterations >= knobs.min_iterations and small.warmup == small.iterations // 10


def test_a_backbone_of_its_own_takes_its_own_weights() -> None:
    of_run = Config.model_validate({"backbone": "lite0", "weights": "/w/lite0.pth"})
    assert (replace(STUDENT, config=of_run).backbone.name, replace(STUDENT, config=of_run).weights) == (
        "lite0",
        "/w/lite0.pth",
    )
    own = Config.model_validate({"backbone": "lite0", "weights": "/w/lite0.pth", "deeplab": {"backbone": "resnet18"}})
    assert (replace(STUDENT, config=own).backbone.name, replace(STUDENT, config=own).weights) == ("resnet18", None)
