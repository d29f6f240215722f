"""Records of versions: what each holds, and how a damaged one is reported."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import irnet_ray
from irnet_ray.errors import UserError
from irnet_ray.runs import records
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.version import Version
from irnet_ray.runs.versions import listed, rollback
from tests.versioned import A, C, Versioned, names


def test_every_published_version_stays_on_record(made: Versioned) -> None:
    known = records.known(made.folder)
    assert [(record.id, record.number, record.is_version) for record in known] == [
        ("a", 1, True),
        ("b", 2, True),
        ("c", 3, True),
    ]
    last = known[-1]
    assert last.version == Version(made.folder.read_json("current.json"))
    assert last.software == irnet_ray.__version__ and last.published and last.begun
    tables = [pq.read_table(path) for path in (made.out / "labels").glob("*.parquet")]
    assert last.instances == sum(len(row) for one in tables for row in one["instances"].to_pylist()) > 0
    assert set(last.folders) == names(C)


def test_a_version_s_errors_are_counted_by_stage_and_kind(made: Versioned) -> None:
    version = made.version("i1", "c1", "s1", "n1", "d")
    made.make(version)
    labels = made.folder.folder("stages", "labels-d")
    kinds = [("seeds", "unreadable"), ("seeds", "unreadable"), ("labels", "worker-died")]
    for name in labels.folder("errors").files():
        rows = [
            {"image_id": str(n), "uri": "u", "stage": stage, "kind": kind, "message": ""}
            for n, (stage, kind) in enumerate(kinds)
        ]
        schema = labels.folder("errors").read_table(name).schema
        labels.folder("errors").write_table(name, pa.Table.from_pylist(rows, schema))
    records.publish(made.folder, version)
    assert records.known(made.folder)[-1].errors_by_stage == {"seeds": {"unreadable": 4}, "labels": {"worker-died": 2}}


def test_a_version_published_without_a_record_is_listed(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(source, out, symlinks=True)
    (only,) = listed(out)
    assert only.current and only.record.software is None and only.record.published is not None
    assert only.record.instances and not (out / "versions").exists()  # looking writes nothing
    made = Versioned(tmp_path / "other", source)
    folder = Folder(str(out))
    shutil.copytree(out / "stages" / "labels-0123456789ab", out / "stages" / "labels-new")
    fresh = Version({**made.content, "version": "new", "stages": {**made.content["stages"], "labels": "labels-new"}})
    records.publish(folder, fresh)
    assert [record.id for record in records.known(folder)] == ["0123456789ab", "new"]
    assert rollback(out)[1].id == "0123456789ab"


def test_a_run_is_on_record_from_its_start_and_again_after_an_interruption(made: Versioned) -> None:
    made.begin("i1", "c2", "s3", "n4", "d")
    (begun,) = [record for record in records.known(made.folder) if record.is_unfinished]
    assert begun.id == "d" and begun.by["pid"] == os.getpid() and not begun.is_version
    records.begin(made.folder, made.version(*A))  # labeled again: it stays a version
    assert [record.id for record in records.known(made.folder)] == ["a", "b", "c", "d"]
    assert made.publish("i1", "c2", "s3", "n4", "d") == made.current
    assert [record.is_version for record in records.known(made.folder)] == [True] * 4


def test_a_version_that_is_published_again_becomes_the_newest(made: Versioned) -> None:
    before = records.known(made.folder)
    records.publish(made.folder, made.version(*C))
    assert records.known(made.folder) == before  # it is the current one: nothing changes
    made.publish(*A)
    assert [record.id for record in records.known(made.folder)] == ["b", "c", "a"]
    assert rollback(made.out)[1].id == "c"


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"version": {}, "folders": []}', '{"later": 1, "folders": []}'])
def test_a_damaged_record_is_reported_before_a_run_begins(made: Versioned, content: str) -> None:
    (made.out / "versions" / "b.json").write_text(content)
    for call in (lambda: listed(made.out), lambda: records.begin(made.folder, made.version(*A))):
        with pytest.raises(UserError, match=r"versions/b.json is (no record|damaged)"):
            call()


def test_a_damaged_pointer_is_reported(made: Versioned) -> None:
    made.folder.write_json("current.json", {"seconds": 3})
    with pytest.raises(UserError, match=r"current\.json is damaged \(it names no stages\): `irnet-ray rollback"):
        records.publish(made.folder, made.version(*A))
    assert [(row.record.id, row.current) for row in listed(made.out)] == [("a", False), ("b", False), ("c", False)]
    (made.out / "current.json").unlink()
    records.publish(made.folder, made.version(*A))
    assert made.folder.read_json("current.json") == made.version(*A).content


def test_a_folder_from_elsewhere_writes_no_record_outside(made: Versioned) -> None:
    content = {**made.version(*A).content, "version": "../../outside"}
    made.folder.write_json("current.json", content)
    with pytest.raises(UserError, match="is no version"):
        rollback(made.out)
    assert not list(made.out.parent.glob("outside*"))


def test_entries_of_a_later_release_are_kept(made: Versioned) -> None:
    place = made.folder.folder("versions")
    place.write_json("a.json", {**place.read_json("a.json"), "reviewed_by": ["Ann"]})
    record = records.one(made.folder, "a")
    assert record is not None
    records.write(made.folder, replace(record, instances=7))
    found = place.read_json("a.json")
    assert found["reviewed_by"] == ["Ann"] and found["instances"] == 7 and "others" not in found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("number", "1"),
        ("instances", "many"),
        ("folders", [1]),
        ("folders", 3),
        ("by", []),
        ("published", 3),
        ("errors_by_stage", [1]),
        ("version", {}),
    ],
)
def test_a_record_with_entries_of_another_type_is_reported(made: Versioned, name: str, value: Any) -> None:
    place = made.folder.folder("versions")
    place.write_json("a.json", {**place.read_json("a.json"), name: value})
    with pytest.raises(UserError, match=r"versions/a\.json is no record that this irnet-ray can read"):
        records.one(made.folder, "a")


def test_a_record_without_config_says_that_its_method_is_unknown(made: Versioned) -> None:
    place = made.folder.folder("versions")
    content = place.read_json("a.json")
    for config in ({}, {"seeds": 3}):
        place.write_json("a.json", {**content, "version": {**content["version"], "config": config}})
        record = records.one(made.folder, "a")
        assert record is not None and record.made_by == "unknown, unknown"


def test_a_file_is_no_run_directory(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("")
    with pytest.raises(UserError, match="labels is no run directory"):
        records.opened(tmp_path / "labels")
