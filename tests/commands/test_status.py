"""The status of a run directory: what is done, running and failed, how fast, until when. It changes nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from irnet_ray import cli, tables
from irnet_ray.commands.status import status, text
from irnet_ray.engine.profile import profile
from irnet_ray.errors import UserError
from irnet_ray.report import stage as stages
from irnet_ray.runs import lock, records
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.owner import RunOwner
from irnet_ray.runs.shards import Shards
from irnet_ray.runs.version import Version
from tests.labelled import labelled_scenes
from tests.versioned import Versioned

COUNT = 4  # images
SHARDS = 2
DONE = ("i1", "c1", "s1", "n1", "a")
NEXT = ("i1", "c1", "s2", "n2", "b")
SEED = {"class_ids": [0], "cam": b"", "cam_shape": [1, 0, 0], "attention": None, "confident_map": b""}
KEYS = {"out", "lock", "run", "stages", "students", "errors", "finished", "versions"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_scenes(tmp_path_factory.mktemp("source"), COUNT, (64, 64))


@pytest.fixture
def made(tmp_path: Path, source: Path) -> Versioned:
    made = Versioned(tmp_path / "out", source)
    made.publish(*DONE)
    return made


def begin(made: Versioned, hours: float) -> None:
    """Start a run of version b, some hours ago, in this process. Its classifier is done."""
    version = {name: value for name, value in made.version(*NEXT).content.items() if name not in ("labels", "errors")}
    records.begin(made.folder, Version(version))
    record = records.known(made.folder)[-1]
    begun = datetime.now(UTC) - timedelta(hours=hours)
    records.write(made.folder, replace(record, begun=f"{begun:%Y-%m-%dT%H:%M:%SZ}"))


def hold(made: Versioned, **changes: Any) -> None:
    """Write the lock of this process, or of another one."""
    (made.out / lock.NAME).write_text(json.dumps(asdict(replace(RunOwner.this(), **changes))))


def commit(made: Versioned, *units: tuple[float, list[str], list[str]]) -> None:
    """Commit units of seeds: hours ago, good images, failed images."""
    seeds = Shards(made.folder.folder("stages", "seeds-s2"), SHARDS)
    for hours, good, bad in units:
        error = {"stage": "seeds", "kind": "unreadable", "message": "no JPEG"}
        rows = [{"image_id": i, "uri": i, **SEED} for i in good]
        rows += [{"image_id": i, "uri": i, "error": error} for i in bad]
        known = set(seeds.units(0).files())
        seeds.commit(0, tables.SEEDS, rows)
        (new,) = set(seeds.units(0).files()) - known
        then = time.time() - 3600 * hours
        os.utime(Path(seeds.units(0).local_path, new), (then, then))


def times(out: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in [out, *out.rglob("*")]}


def stage(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in found["stages"] if one["stage"] == name)


def test_status_of_a_finished_run_changes_nothing(made: Versioned) -> None:
    made.folder.folder("stages", "seeds-s1").write_json("done.json", {"seconds": 3723, "summary": "x"})
    before = times(made.out)
    found = status(made.out)
    assert times(made.out) == before
    assert set(found) == KEYS and found["lock"] is None and found["versions"] == 1
    assert (found["run"]["version"], found["run"]["state"]) == ("a", "finished")
    assert found["finished"]["labels"] == COUNT and found["finished"]["instances"] > 0
    assert [(one["stage"], one["state"]) for one in found["stages"]] == [
        ("classifier", "done"),
        ("seeds", "done"),
        ("irnet", "done"),
        ("labels", "done"),
    ]
    assert (stage(found, "labels")["done"], stage(found, "labels")["total"]) == (COUNT, COUNT)
    lines = text(found).splitlines()
    assert len(lines) <= 20 and lines[0] == "running     no"
    assert any(re.fullmatch(r"seeds +done +4 of 4 images, 1:02:03 min", line) for line in lines)
    assert lines[-1].startswith("finished    a, published 20") and "4 images = 4 labels + 0 errors; " in lines[-1]


def test_a_running_stage_has_a_speed_and_an_end(made: Versioned) -> None:
    begin(made, hours=100)
    hold(made)
    commit(made, (80, ["a"], []), (60, ["b"], []), (120, [], ["c"]))  # the last one belongs to an earlier run
    found = status(made.out)
    assert found["run"]["state"] == "running" and found["run"]["version"] == "b"
    assert found["lock"]["alive"] and found["lock"]["pid"] == os.getpid()
    seeds = stage(found, "seeds")
    assert (seeds["state"], seeds["done"], seeds["total"], seeds["errors"]) == ("running", 3, COUNT, 1)
    assert seeds["per_second"] == pytest.approx(1 / (80 * 3600), rel=0.01)  # one image in the 80 hours since the first
    assert seeds["seconds_left"] == pytest.approx(80 * 3600, rel=0.01)
    assert [stage(found, name)["state"] for name in ("classifier", "irnet", "labels")] == ["done", "to do", "to do"]
    assert found["errors"] == {"seeds": {"unreadable": 1}}
    assert found["finished"]["version"] == "a"
    said = text(found)
    assert re.search(
        r"^seeds +running +3 of 4 images, 1 errors, .*/s, 80:\d\d:\d\d left, until \d\d:\d\d UTC$", said, re.M
    )
    assert "errors      seeds: unreadable 1\n" in said


def test_very_many_units_are_sampled(made: Versioned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "UNITS", 2)
    begin(made, hours=0)
    commit(made, *((0.5, [f"{n}"], [f"{n}x"]) for n in range(6)))
    seeds = stage(status(made.out), "seeds")
    assert (seeds["done"], seeds["errors"], seeds["estimated"], seeds["state"]) == (12, 6, True, "interrupted")


@pytest.mark.parametrize("whose", ["process that is gone", "machine that is silent"])
def test_a_dead_lock_is_reported_and_its_run_is_interrupted(made: Versioned, whose: str) -> None:
    begin(made, hours=0)
    hold(made, **({"started": "1"} if "process" in whose else {"machine": "another"}))
    os.utime(made.out / lock.NAME, (time.time() - 3600,) * 2)
    commit(made, (0.5, ["a"], []))
    found = status(made.out)
    assert found["lock"]["alive"] is False and found["run"]["state"] == "interrupted"
    assert stage(found, "seeds")["state"] == "interrupted" and stage(found, "seeds")["seconds_left"] is None
    assert " (dead: no sign of life for 1:0" in text(found).splitlines()[0]


def test_a_remote_run_is_judged_by_its_heartbeat(made: Versioned) -> None:
    begin(made, hours=1)
    hold(made, machine="another")
    assert status(made.out)["run"]["state"] == "running"


def test_a_run_abandoned_before_the_current_version_is_not_described(made: Versioned) -> None:
    begin(made, hours=1)
    assert status(made.out)["run"]["version"] == "a"


def test_a_training_tells_its_iteration_and_its_checkpoint(made: Versioned) -> None:
    begin(made, hours=0)
    hold(made)
    made.folder.folder("stages").folder("seeds-s2").delete()
    os.symlink("seeds-s1", made.out / "stages" / "seeds-s2")
    irnet = made.folder.folder("stages", "irnet-n2")
    losses = {"total": 1.25}
    irnet.write_json("progress.json", {"iteration": 310, "iterations": 1000, "per_second": 2.0, "losses": losses})
    for epoch in (0, 1):
        history = [{"iteration": 100 * (n + 1), "losses": losses} for n in range(epoch + 1)]
        checkpoint = irnet.folder("training", "irnet", f"epoch-{epoch}")
        checkpoint.write_json("state.json", {"epoch": epoch, "history": history})
        os.utime(Path(checkpoint.local_path, "state.json"), (epoch, epoch))
    found = stage(status(made.out), "irnet")
    assert (found["state"], found["done"], found["total"], found["seconds_left"]) == ("running", 310, 1000, 345.0)
    assert (found["checkpoint"], found["epochs"], found["losses"]) == (200, 2, losses)
    (made.out / lock.NAME).unlink()
    said = text(status(made.out))
    assert re.search(r"^irnet +interrupted +310 of 1,000 iterations, 2/s, goes on from 200, total 1\.250$", said, re.M)
    irnet.write_json("history.json", [{"iteration": 500 * n, "losses": losses} for n in (1, 2)])
    irnet.write("weights.safetensors", b"")
    found = stage(status(made.out), "irnet")
    assert (found["state"], found["done"], found["epochs"]) == ("done", 1000, 2)


def test_students_are_listed_with_their_links(made: Versioned) -> None:
    made.student("mask-rcnn-1")
    made.student("deeplab-1", linked=False)
    place = made.folder.folder("stages", "deeplab-2")
    place.write_json("progress.json", {"iteration": 5, "losses": {}})
    found = {one["folder"]: one for one in status(made.out)["students"]}
    assert {name: (one["state"], one["model"]) for name, one in found.items()} == {
        "stages/mask-rcnn-1": ("done", "models/mask-rcnn"),
        "stages/deeplab-1": ("done", None),
        "stages/deeplab-2": ("interrupted", None),
    }
    hold(made, since="2001-01-01 00:00:00 UTC")
    found = {one["folder"]: one for one in status(made.out)["students"]}
    assert found["stages/deeplab-2"]["state"] == "running"


def test_errors_are_listed_by_stage_and_kind(made: Versioned) -> None:
    labels = made.folder.folder("stages", "labels-a")
    row = {"image_id": "x", "uri": "u", "stage": "seeds", "kind": "bad\x1b[2J", "message": ""}
    name = labels.folder("errors").files()[0]
    labels.folder("errors").write_table(name, pa.Table.from_pylist([row, row], tables.ERRORS))
    found = status(made.out)
    assert found["errors"] == {"seeds": {"bad\x1b[2J": 2}} and "\x1b" not in text(found)


def test_a_profile_says_what_to_change_first(made: Versioned) -> None:
    seconds = {"load": 1.0, "network": 80.0, "finish": 19.0, "write": 0.0}
    made.folder.folder("stages", "seeds-s1").write_json("profile.json", profile(COUNT, 60, seconds, 2, 2, 0))
    assert "4 of 4 images, 0.067/s, bound by network (80 % of the work); first: more workers" in text(status(made.out))


def test_without_records_status_reads_the_folders(made: Versioned) -> None:
    for name in ("current.json", "versions/a.json"):
        (made.out / name).unlink()
    found = status(made.out)
    assert found["run"] is None and found["finished"] is None
    assert [one["stage"] for one in found["stages"]] == ["classifier", "seeds", "irnet", "labels"]
    assert len(text(found).splitlines()) == 5


def test_another_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(
            UserError, match="is no run directory: name the folder that `irnet-ray label --out` writes to"
        ):
            status(place)
        monkeypatch.setattr(sys, "argv", ["irnet-ray", "status", str(place)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def test_the_command_needs_neither_ray_nor_torch(made: Versioned) -> None:
    code = "import sys; sys.modules.update(torch=None, ray=None); from irnet_ray.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "status", str(made.out / "labels"), "--json"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == KEYS and found["out"] == str(made.out)
    assert found == json.loads(json.dumps(status(Folder(str(made.out)).location)))
