"""The line on a stage in each of its states, and what the files of a training tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from irnet_ray.report.stage import DONE, INTERRUPTED, RUNNING, TO_DO, Stage, read_mapping, read_training
from irnet_ray.runs.folder import Folder


def test_a_stage_to_do_is_a_word() -> None:
    assert Stage("seeds", "stages/seeds-0", TO_DO, "images", done=0, total=9).line() == "seeds       to do       "


def test_a_finished_stage_has_its_time_and_what_bounded_it() -> None:
    profile = {"bound": "network", "step_seconds": {"load": 1.0, "network": 3.0}}
    done = Stage("seeds", "", DONE, "images", 1200, 1200, errors=2, per_second=0.82, seconds=1463, profile=profile)
    assert done.line().startswith(
        "seeds       done        1,200 of 1,200 images, 2 errors, 0.82/s, 24:23 min, "
        "bound by network (75 % of the work); first: more workers"
    )


def test_a_running_stage_has_the_time_that_is_left() -> None:
    line = Stage("labels", "", RUNNING, "images", 10, 40, estimated=True, per_second=0.5, seconds_left=60).line()
    assert line.startswith("labels      running     about 10 of 40 images, 0.5/s, 1:00 left, until ")
    assert line.endswith(" UTC")


def test_an_interrupted_training_has_its_checkpoint_and_losses() -> None:
    stage = Stage("irnet", "", INTERRUPTED, "iterations", 30, 90, checkpoint=20, losses={"d_fg": 0.25})
    assert stage.line() == "irnet       interrupted 30 of 90 iterations, goes on from 20, d fg 0.250"


def test_a_training_is_read_from_its_files(tmp_path: Path) -> None:
    folder, found = Folder(str(tmp_path)), Stage("irnet", "", TO_DO, "")
    read_training(found, folder)
    assert (found.state, found.unit, found.done, found.epochs) == (TO_DO, "iterations", None, None)
    progress = {"iteration": 30, "iterations": 90, "losses": {"total": 0.5}, "per_second": 2.0}
    folder.write_json("progress.json", progress)
    read_training(found, folder)
    assert (found.state, found.done, found.total, found.seconds_left, found.checkpoint) == (INTERRUPTED, 30, 90, 30, 0)
    folder.write_json("history.json", [{"iteration": 45, "losses": {}}, {"iteration": 90, "losses": {"total": 0.25}}])
    folder.write_json("done.json", {"seconds": 61.0, "summary": "good"})
    folder.write("weights.safetensors", b"")
    read_training(found, folder)
    assert (found.state, found.done, found.epochs, found.losses) == (DONE, 90, 2, {"total": 0.25})
    assert (found.seconds, found.summary) == (61.0, "good")


def test_a_map_stage_without_a_file_is_to_do(tmp_path: Path) -> None:
    found = Stage("seeds", "", TO_DO, "images")
    assert read_mapping(found, Folder(str(tmp_path)), None) == {} and found.state == TO_DO


@pytest.mark.parametrize("content", ["[]", "3", '"text"', "{}", '[{"epoch": 1}]'])
def test_progress_of_another_kind_is_not_shown(tmp_path: Path, content: str) -> None:
    for name in ("progress.json", "history.json", "done.json", "profile.json"):
        (tmp_path / name).write_text(content)
    found = Stage("irnet", "stages/irnet-0", TO_DO, "images")
    read_training(found, Folder(str(tmp_path)))
    assert (found.state, found.done, found.seconds, found.profile) == (TO_DO, None, None, None)
