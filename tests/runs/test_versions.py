"""Versions of a run directory: listing, rollback and pruning, and each of them killed anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irnet_ray.errors import UserError
from irnet_ray.runs import records
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.lock import NAME
from irnet_ray.runs.owner import RunOwner
from irnet_ray.runs.run import publish
from irnet_ray.runs.versions import listed, prune, rollback, table
from tests.versioned import COUNT, A, B, C, Versioned, names

ROOT = Path(__file__).resolve().parents[2]


# versions


def test_the_table_tells_what_each_version_holds(made: Versioned) -> None:
    made.begin("i1", "c2", "s3", "n4", "d")
    rows = {row.record.id: row for row in listed(made.out)}
    assert [name for name, row in rows.items() if row.current] == ["c"]

    def on_disk(*folders: str) -> int:
        return sum(p.stat().st_size for f in folders for p in (made.out / "stages" / f).rglob("*") if p.is_file())

    assert rows["a"].bytes == on_disk("seeds-s1", "irnet-n1", "labels-a")
    assert rows["c"].bytes == on_disk("irnet-n3", "labels-c")  # the unfinished run needs its seeds
    assert rows["d"].bytes == on_disk("irnet-n4", "labels-d")
    lines = table(listed(made.out)).splitlines()
    assert len(lines) == 5 and lines[0].split()[:3] == ["version", "published", "images"]
    assert lines[3].startswith("*  c ") and lines[3].endswith("cam, resnet50")
    assert " unfinished " in lines[4] and f" {COUNT} " in lines[1]


# rollback


def current_is(made: Versioned, marks: tuple[str, ...]) -> None:
    stages = made.version(*marks).stages
    assert made.folder.read_json("current.json") == made.version(*marks).content
    assert made.folder.read_json("report.json") == {"version": marks[-1]}
    assert made.folder.read_json("config.json") == made.version(*marks).config
    assert {name: os.readlink(made.out / name) for name in ("labels", "errors", "images")} == {
        "labels": f"stages/{stages['labels']}/rows",
        "errors": f"stages/{stages['labels']}/errors",
        "images": f"stages/{stages['images']}/rows",
    }
    assert not (made.out / NAME).exists()


def test_rollback_goes_one_version_back_or_to_any_version(made: Versioned) -> None:
    before = made.stages
    assert rollback(made.out)[0] == "c"
    current_is(made, B)
    rollback(made.out)
    current_is(made, A)
    with pytest.raises(UserError, match=r"before the current one, a: name one of b, c\."):
        rollback(made.out)
    rollback(made.out / "labels", "c")
    current_is(made, C)
    assert made.stages == before and [record.id for record in records.known(made.folder)] == ["a", "b", "c"]


def test_a_report_stays_with_its_version_even_if_older_software_wrote_it(made: Versioned) -> None:
    for version in "bc":
        (made.out / "stages" / f"labels-{version}" / "report.json").unlink()
    rollback(made.out)
    assert made.current == "b" and not (made.out / "report.json").exists()  # b has none, and c's belongs to c
    rollback(made.out)
    current_is(made, A)
    rollback(made.out, "c")
    current_is(made, C)


@pytest.mark.parametrize("damage", ["weights", "part", "folder", "cut"])
def test_a_version_that_is_not_whole_is_refused_and_nothing_moves(made: Versioned, damage: str) -> None:
    stages = made.out / "stages"
    part = next((stages / "labels-b" / "rows").glob("*.parquet"))
    if damage == "weights":
        (stages / "irnet-n2" / "weights.safetensors").unlink()
    elif damage == "part":
        part.unlink()
    elif damage == "folder":
        shutil.rmtree(stages / "seeds-s2")
    else:
        part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(UserError) as refused:
        rollback(made.out)
    lost = {"weights": "irnet-n2", "folder": "seeds-s2"}.get(damage, "labels-b")
    assert f"Version b is not whole any more, stages/{lost} is missing or damaged: " in str(refused.value)
    assert made.current == "c" and os.readlink(made.out / "labels") == "stages/labels-c/rows"


def test_an_ambiguous_or_unknown_version_is_refused(made: Versioned) -> None:
    made.publish("i1", "c1", "s1", "n1", "ab")
    for name, said in (("x", "No version"), ("a", "More than one version")):
        with pytest.raises(UserError, match=f"{said} in .* begins with '{name}': choose one of a, b, c, ab."):
            rollback(made.out, name)
    assert rollback(made.out, "b")[1].id == "b"


def test_rollback_and_prune_are_refused_while_a_run_writes(made: Versioned) -> None:
    (made.out / NAME).write_text(json.dumps(asdict(RunOwner.this())))
    before = made.stages
    for call in (lambda: rollback(made.out), lambda: prune(made.out, 1)):
        with pytest.raises(UserError, match="Another run writes to"):
            call()
    assert (made.current, made.stages) == ("c", before)
    assert prune(made.out, 1, dry_run=True).versions == ("a", "b")


# prune


def test_old_versions_are_removed_with_the_stages_that_only_they_need(made: Versioned) -> None:
    made.student("mask-rcnn-1")
    made.student("deeplab-1", linked=False)
    would = prune(made.out, 2, dry_run=True)
    assert made.stages >= names(A, B, C)
    done = prune(made.out, 2)
    assert done == would and done.versions == ("a",) and set(done.folders) == names(A) - names(B, C)
    assert made.stages == names(B, C) | {"mask-rcnn-1", "deeplab-1"}
    assert [record.id for record in records.known(made.folder)] == ["b", "c"]
    assert prune(made.out, 2).folders == {}
    made.check()


def test_the_current_version_is_kept_even_if_it_is_old(made: Versioned) -> None:
    rollback(made.out, "a")
    assert prune(made.out, 1).versions == ("b",)
    assert made.stages == names(A, C)
    made.check()


def test_interrupted_runs_and_unnamed_folders_are_removed_only_on_request(made: Versioned) -> None:
    made.begin("i1", "c1", "s1", "n9", "d")
    (made.out / "stages" / "affinitynet-1").mkdir()
    (made.out / "stages" / "affinitynet-1" / "weights.safetensors").write_bytes(b"1")
    kept = prune(made.out, 1)
    assert made.stages == names(C, ("i1", "c1", "s1", "n9", "d")) | {"affinitynet-1"}
    assert kept.unfinished == ("d",) and kept.unnamed == {"affinitynet-1": 1}
    assert "kept 1 unfinished run and 1 stage folder of no version, 1 B: --unfinished removes them" in kept.text(False)
    assert "d" in prune(made.out, 1, unfinished=True).versions
    assert made.stages == names(C)
    assert [path.name for path in (made.out / "versions").iterdir()] == ["c.json"]


def test_prune_needs_a_finished_run_and_a_positive_number(tmp_path: Path, made: Versioned) -> None:
    with pytest.raises(UserError, match="--keep must be at least 1, got 0"):
        prune(made.out, 0)
    with pytest.raises(UserError, match="No finished run in"):
        prune(tmp_path, 1)
    with pytest.raises(UserError, match="is no run directory"):
        rollback(tmp_path)
    with pytest.raises(UserError, match="is no run directory: name the folder"):
        listed(tmp_path)


def test_in_an_object_store_the_mark_of_a_done_stage_is_deleted_first(
    made: Versioned, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, order = Folder.write, []
    delete = Folder.delete

    def seen(folder: Folder) -> None:
        order.append(folder.location.removeprefix(f"{made.out}/"))
        delete(folder)

    with monkeypatch.context() as remote:
        remote.setattr(Folder, "is_local", property(lambda _: False))
        remote.setattr("irnet_ray.storage.object_store.connect", lambda place: (pafs.LocalFileSystem(), place))
        remote.setattr(Folder, "write", lambda *call: _locally(write, *call))
        remote.setattr(Folder, "delete", seen)
        prune(made.out, 2)
        assert rollback(made.out)[1].id == "b"
    assert made.stages == names(B, C) and made.current == "b"
    assert order.index("stages/labels-a/rows") < order.index("stages/labels-a")


def _locally(write: Any, folder: Folder, name: str, data: bytes) -> None:
    Path(folder.location).mkdir(parents=True, exist_ok=True)
    Path(folder.location, name).write_bytes(data)


marks = st.integers(0, 2).map(str)
chains = st.lists(st.tuples(st.just("i"), marks, marks, marks), min_size=1, max_size=5)


@given(chains, st.data())
@settings(max_examples=12, deadline=None)
def test_prune_keeps_exactly_what_the_kept_versions_need(
    tmp_path_factory: pytest.TempPathFactory, source: Path, chains: list[tuple[str, ...]], data: st.DataObject
) -> None:
    made = Versioned(tmp_path_factory.mktemp("case") / "out", source)
    whole = [(*chain, f"v{number}") for number, chain in enumerate(chains)]
    begun = data.draw(st.sets(st.sampled_from(whole[1:]))) if whole[1:] else set()
    published = [one for one in whole if one not in begun]
    for one in whole:
        (made.publish if one in published else made.begin)(*one)
    keep = data.draw(st.integers(1, 5))
    unfinished = data.draw(st.booleans())
    current = data.draw(st.sampled_from(published))
    rollback(made.out, current[-1])
    done = prune(made.out, keep, unfinished=unfinished)
    kept = {*published[-keep:], current}
    assert made.stages == names(*kept, *([] if unfinished else begun))
    assert set(done.versions) == {one[-1] for one in whole} - {one[-1] for one in kept} - (
        set() if unfinished else {one[-1] for one in begun}
    )
    made.check()
    assert made.current == current[-1] and not prune(made.out, keep, unfinished=unfinished).folders


# Killed anywhere


def killed(call: str, made: Versioned) -> Iterator[Versioned]:
    """The run directories that a call leaves behind when it is killed at each of its file operations."""
    place = made.out.parent / "killed"
    done = subprocess.run(
        [sys.executable, "-m", "tests.killed", call, str(made.out), str(place)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for number in range(int(done.stdout)):
        left = Versioned.__new__(Versioned)
        left.out, left.source, left.content = place / str(number), made.source, made.content
        left.folder = Folder(str(left.out))
        yield left


def test_a_rollback_killed_anywhere_leaves_whole_versions_and_can_be_repeated(made: Versioned) -> None:
    seen = []
    for left in killed("irnet_ray.runs.versions:rollback", made):
        left.check()
        seen.append((left.current, os.readlink(left.out / "labels")[-6:-5]))
        all_but_unlocked = left.folder.read_json("report.json") == {"version": "b"}
        assert rollback(left.out, "b" if all_but_unlocked else None)[1].id == "b"
        current_is(left, B)
    assert {("c", "c"), ("b", "c"), ("b", "b")} <= set(seen)


def test_a_prune_killed_anywhere_harms_no_kept_version_and_can_be_repeated(made: Versioned) -> None:
    made.student("mask-rcnn-1")
    made.begin("i1", "c2", "s1", "n9", "d")
    want = names(B, C, ("i1", "c2", "s1", "n9", "d")) | {"mask-rcnn-1"}
    half = 0
    for left in killed("irnet_ray.runs.versions:prune 2", made):
        left.check()
        shown = {record.id for record in records.known(left.folder)}
        gone = names(A) - left.stages
        assert {"b", "c", "d"} <= shown and ("a" not in shown or not gone)
        half += "a" not in shown and bool(names(A) - want - gone)
        prune(left.out, 2)
        assert left.stages == want
        assert left.folder.folder("versions").files() == ["b.json", "c.json", "d.json"]
    assert half > 3


def test_prune_repairs_links_after_a_killed_rollback(made: Versioned) -> None:
    publish(made.folder, made.version(*A))
    made.folder.write_json("current.json", made.version(*C).content)  # only the pointer has moved
    prune(made.out, 1)
    made.check()
    assert os.readlink(made.out / "labels") == "stages/labels-c/rows"


def test_a_version_whose_removal_was_killed_can_be_made_again(made: Versioned) -> None:
    for number, left in enumerate(killed("irnet_ray.runs.versions:prune 2", made)):
        if number % 5:
            continue
        left.publish(*A)
        left.check()
        assert left.current == "a"
        prune(left.out, 2)
        assert left.stages == names(C, A)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"{"])
def test_a_lost_or_damaged_pointer_is_written_again_from_the_records(made: Versioned, content: bytes | None) -> None:
    pointer = made.out / "current.json"
    pointer.unlink() if content is None else pointer.write_bytes(content)
    with pytest.raises(UserError, match=r"current\.json is missing or damaged: name the version .* of a, b, c\."):
        rollback(made.out)
    before, record = rollback(made.out, "b")
    assert (before, record.id, made.current) == (None, "b", "b")
    made.check()


def test_an_empty_version_is_no_version(made: Versioned) -> None:
    with pytest.raises(UserError, match="The version is empty: choose one of a, b, c"):
        rollback(made.out, "")
    assert made.current == "c"


@pytest.mark.parametrize("content", ["{}", "[]", "3"])
def test_a_report_of_another_kind_does_not_stop_a_rollback(made: Versioned, content: str) -> None:
    (made.out / "report.json").write_text(content)
    assert rollback(made.out, "b")[1].id == "b"
    made.check()
