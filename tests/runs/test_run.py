"""A run directory: who may write to it, how a finished run is opened, and that readers always find a whole version."""

from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from irnet_ray.config.load import Config
from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.run import FinishedRun, config_of, current, publish, published, writable
from irnet_ray.runs.version import Version


def finished(place: Path, **entries: Any) -> Path:
    """A run directory with a `current.json` and nothing else."""
    stages = {"images": "images-1", "labels": "labels-1"}
    content = {"version": "1", "stages": stages, "shards": 2, "vocabulary": ["cat"], "config": {"backbone": "lite0"}}
    Folder(str(place)).write_json("current.json", {**content, **entries})
    return place


def test_the_output_folder_is_created(tmp_path: Path) -> None:
    assert writable(tmp_path / "deep" / "out").local_path == f"{tmp_path}/deep/out"
    assert list((tmp_path / "deep" / "out").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for wrong, why in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "out", "Not a directory")):
        with pytest.raises(UserError, match=rf"^Cannot write to the output folder {wrong}: {why}\.$"):
            writable(wrong)


def test_a_finished_run_is_opened_by_its_folder_or_its_labels(tmp_path: Path) -> None:
    out = finished(tmp_path / "out")
    for name in (out, out / "labels", str(out)):
        run = FinishedRun.open(name)
        assert (run.folder.local_path, run.version.id, run.vocabulary) == (str(out), "1", ["cat"])
    assert run.stage("labels").local_path == f"{out}/stages/labels-1"
    assert (run.shards("labels").folder, run.shards("labels").count) == (run.stage("labels"), 2)
    assert run.config.backbone == "lite0"


def test_a_stage_that_the_version_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^Version 1 of .*/out has no stage seeds: "):
        FinishedRun.open(finished(tmp_path / "out")).stage("seeds")


def test_a_config_of_a_later_release_is_refused(tmp_path: Path) -> None:
    out = finished(tmp_path / "out", config={"backbone": "lite0", "of a later release": 1})
    run = FinishedRun.open(out)  # its tables can still be read
    with pytest.raises(UserError, match=r"^This irnet-ray cannot read the config of version 1 in .*: update"):
        _ = run.config
    readable = run.version.with_entries(config=Config().model_dump(mode="json"))
    assert config_of(run.folder, readable) == Config()


def test_before_a_run_has_finished_there_is_no_version(tmp_path: Path) -> None:
    assert current(Folder(str(tmp_path))) is None


@pytest.mark.parametrize("content", [[], {}, {"version": "1"}])
def test_a_damaged_pointer_is_reported(tmp_path: Path, content: Any) -> None:
    Folder(str(tmp_path)).write_json("current.json", content)
    for read in (lambda: current(Folder(str(tmp_path))), lambda: FinishedRun.open(tmp_path)):
        with pytest.raises(
            UserError, match=rf"^{tmp_path}/current.json is damaged \(it names no stages\): .irnet-ray rollback"
        ):
            read()


def test_tables_are_found_by_links_or_in_a_store_by_folders() -> None:
    assert [published("/out", "1"), published("/out", "1", "errors")] == ["/out/labels", "/out/errors"]
    assert published("s3://b/out", "1") == "s3://b/out/stages/labels-1/rows"
    assert published("s3://b/out", "1", "errors") == "s3://b/out/stages/labels-1/errors"


def version(number: int) -> Version:
    return Version({"version": str(number), "stages": {"labels": f"labels-{number}", "images": f"images-{number}"}})


def test_readers_of_a_published_table_always_find_a_whole_version(tmp_path: Path) -> None:
    for number in (0, 1):
        for table in ("labels", "images"):
            rows = tmp_path / "stages" / f"{table}-{number}" / "rows"
            rows.mkdir(parents=True)
            (rows / "part").write_text(str(number))
        (tmp_path / "stages" / f"labels-{number}" / "errors").mkdir()
    out = Folder(str(tmp_path))
    publish(out, version(0))
    stop = threading.Event()

    def move() -> None:
        for number in itertools.cycle((1, 0)):
            publish(out, version(number))
            if stop.is_set():
                return

    mover = threading.Thread(target=move)
    mover.start()
    try:
        for _ in range(200):
            assert (tmp_path / "labels" / "part").read_text() in "01"
            assert out.read_json("current.json")["version"] in "01"
    finally:
        stop.set()
        mover.join()
    publish(out, version(1))
    assert {name: os.readlink(tmp_path / name) for name in ("labels", "errors", "images")} == {
        "labels": "stages/labels-1/rows",
        "errors": "stages/labels-1/errors",
        "images": "stages/images-1/rows",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current.json", "errors", "images", "labels", "stages"]


def test_a_run_that_never_finished_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"No finished run in {tmp_path}: run `irnet-ray label --out {tmp_path}`"):
        FinishedRun.open(tmp_path)
