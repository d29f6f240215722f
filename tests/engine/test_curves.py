"""What a training reports while it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import SessionLog

from irnet_ray.engine.curves import Reporter
from irnet_ray.runs.folder import Folder
from tests.engine.curves import read_curves, read_events
from tests.engine.mounts import mounted
from tests.engine.processes import PATIENCE
from tests.engine.toy_training import fill_up

ROOT = Path(__file__).parents[2]


def test_one_worker_reports_progress_and_not_too_often(tmp_path: Path) -> None:
    reporter, silent = Reporter(Folder(str(tmp_path))), Reporter(None)
    for told in (reporter, silent):
        told.begin(0, 0)
        for iteration in range(5):
            told.add(iteration, {"total": 1.0 + iteration}, 0.1)
        assert told.means() == {"total": 3.0}
        told.end()
    state = json.loads((tmp_path / "progress.json").read_text())
    assert state == {"iteration": 1, "losses": {"total": 1.0}, "pid": os.getpid()}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["progress.json", "tensorboard"]


def test_each_epoch_has_its_own_means() -> None:
    reporter = Reporter(None)
    for epoch, value in enumerate((1.0, 5.0)):
        reporter.begin(epoch, 2 * epoch)
        reporter.add(2 * epoch, {"total": value, "other": 0.0}, 0.1)
        reporter.add(2 * epoch + 1, {"total": value + 1, "other": 1.0}, 0.1)
        assert reporter.means() == {"total": value + 0.5, "other": 0.5}


def test_a_repeated_epoch_replaces_its_curves(tmp_path: Path) -> None:
    died, resumed = Reporter(Folder(str(tmp_path))), Reporter(Folder(str(tmp_path)))
    for reporter, epochs, value in ((died, (0, 1, 2), 1.0), (resumed, (1, 2), 2.0)):
        for epoch in epochs:
            reporter.begin(epoch, 3 * epoch)
            for iteration in range(3 * epoch, 3 * epoch + 3):
                reporter.add(iteration, {"total": value, "other": value / 2}, 1 / (1 + iteration))
            reporter.end()
    curves = read_curves(tmp_path / "tensorboard")
    assert set(curves) == {"loss/total", "loss/other", "rate"}
    assert curves["loss/total"] == [(i, 1.0 if i < 3 else 2.0) for i in range(9)]
    assert [step for step, _ in curves["rate"]] == list(range(9))


def test_points_are_on_disk_while_their_epoch_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("irnet_ray.engine.curves.time.monotonic", lambda: now[0])
    reporter = Reporter(Folder(str(tmp_path)))
    reporter.begin(0, 0)
    for iteration in range(3):
        reporter.add(iteration, {"total": 1.0}, 0.5)
        now[0] += 6.0
    assert read_curves(tmp_path / "tensorboard")["rate"] == [(i, 0.5) for i in range(3)]
    reporter.end()


def test_an_epoch_s_file_lets_tensorboard_forget_what_it_replaces(tmp_path: Path) -> None:
    reporter = Reporter(Folder(str(tmp_path)))
    reporter.begin(2, 40)
    reporter.end()
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert "tfevents" in file.name and file.name.endswith(".epoch0002")
    version, start = read_events(file)
    assert version.file_version == "brain.Event:2"
    assert (start.step, start.session_log.status) == (40, SessionLog.START)


def test_a_full_disk_ends_the_curves_and_not_the_training(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "64k") as mount:
        reporter = Reporter(Folder(str(mount.path)))
        reporter.begin(0, 0)
        (mount.path / "ballast").write_bytes(bytes(32768))
        fill_up(mount.path / "rest")
        for iteration in range(2000):
            reporter.add(iteration, {"total": 1.0, "other": 2.0}, 0.1)
        assert reporter.means() == {"total": 1.0, "other": 2.0}
        reporter.end()
        reporter.begin(1, 2000)
        reporter.add(2000, {"total": 1.0}, 0.1)
        reporter.end()


REFUSED = """
import sys
from pathlib import Path
from irnet_ray.engine.curves import Reporter
from irnet_ray.runs.folder import Folder
from tests.engine.toy_training import fill_up

disk = Path(sys.argv[1])
reporter = Reporter(Folder(str(disk)))
reporter.begin(0, 0)
(disk / "ballast").write_bytes(bytes(32768))
fill_up(disk / "rest")
for iteration in range(5000):
    reporter.add(iteration, {"total": 1.0, "other": 2.0}, 0.1)
reporter.end()
print("ended")
"""


def test_a_process_whose_curves_were_refused_says_so_in_one_line_and_ends(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "64k") as mount:
        command = [sys.executable, "-c", REFUSED, str(mount.path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("The curves of this epoch end at iteration ")]
    assert len(said) == 1 and said[0].endswith(": No space left on device")
    assert "Traceback" not in done.stderr


def test_it_tells_how_long_the_training_is_and_its_pace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("irnet_ray.engine.curves.time.monotonic", lambda: now[0])
    reporter = Reporter(Folder(str(tmp_path)), 40)
    reporter.begin(1, 10)  # goes on after an interruption
    for iteration in range(10, 15):
        reporter.add(iteration, {"total": 1.0}, 0.1)
        now[0] += 4.0
    reporter.end()
    state = json.loads((tmp_path / "progress.json").read_text())
    assert (state["iteration"], state["iterations"], state["per_second"]) == (15, 40, 0.25)
