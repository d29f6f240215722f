"""The kinds of students by name, and the record of a trained student on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from irnet_ray.config.load import Config
from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.stages.student_kinds import KINDS, find_kind, load_student
from irnet_ray.stages.students import RECORD, Student

STUDENT = Student(KINDS["deeplab"], Config(), ("cat", "dog"), "0123")


def test_each_kind_is_found_by_its_name_and_has_a_section_of_knobs() -> None:
    for name, kind in KINDS.items():
        assert kind.name == name and find_kind(name) is kind
        assert getattr(Config(), kind.section).epochs > 0


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="No student 'yolo': .*mask-rcnn.*deeplab"):
        find_kind("yolo")


def test_a_saved_student_is_loaded_unchanged(tmp_path: Path) -> None:
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
def test_a_folder_without_a_student_is_refused(tmp_path: Path, content: str | None, sentence: str) -> None:
    if content is not None:
        (tmp_path / RECORD).write_text(content)
        (tmp_path / "weights.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match=sentence):
        load_student(Folder(str(tmp_path)))


def test_a_record_without_weights_is_refused(tmp_path: Path) -> None:
    STUDENT.save(Folder(str(tmp_path)))
    with pytest.raises(UserError, match="No trained student"):
        load_student(Folder(str(tmp_path)))
