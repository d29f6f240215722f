"""The lock of a run directory: one run at a time, even if processes die or clocks jump."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from irnet_ray import cli
from irnet_ray.errors import UserError
from irnet_ray.runs import lock
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.lock import NAME, hold
from irnet_ray.runs.owner import RunOwner

HOLDER = """
import signal, sys
# A shell's background jobs ignore it, and these tests may be one.
signal.signal(signal.SIGINT, signal.SIG_IGN if sys.argv[3] == "ignored" else signal.default_int_handler)
from irnet_ray.runs import lock
from irnet_ray.runs.folder import Folder
lock.BEAT = float(sys.argv[2])
with lock.hold(Folder(sys.argv[1])):
    print("held", flush=True)
    word = sys.stdin.readline().strip()
    if word == "fail":
        raise OSError("on purpose")
print("done", flush=True)
"""


@contextmanager
def holder(out: Path, beat: float = 20, ignored: bool = False) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it reads a word."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(out), str(beat), "ignored" if ignored else "heeded"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n", process.communicate()
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def taken(out: Path) -> bool:
    """Whether the lock can be taken."""
    try:
        with hold(Folder(str(out))):
            held = json.loads((out / NAME).read_text())
            assert held["pid"] == os.getpid() and held["host"] == socket.gethostname()
    except UserError:
        return False
    assert left_over(out) == []
    return True


def left_over(out: Path) -> list[str]:
    return sorted(path.name for path in out.iterdir() if path.name != lock.GUARD)


def write(out: Path, holder: RunOwner, age: float = 0) -> None:
    """Write a lock of another run, touched `age` seconds ago."""
    (out / NAME).write_text(json.dumps(asdict(holder)))
    touched = time.time() - age
    os.utime(out / NAME, (touched, touched))


def elsewhere() -> RunOwner:
    return replace(RunOwner.this(), host="other", machine="other boot", pid=1, command="irnet-ray label --out x")


@pytest.fixture
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "WATCH", 0.5)


def test_a_second_run_is_refused_and_the_first_continues(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        with pytest.raises(UserError) as caught, hold(Folder(str(tmp_path))):
            raise AssertionError("two runs hold the lock")
        said = str(caught.value)
        assert f"host {socket.gethostname()}, pid {first.pid}, since 20" in said and f"`-c {tmp_path} 20" in said
        assert said.count(".\n") == 0 and said.endswith(".")
        assert first.communicate("go\n")[0] == "done\n"
    assert left_over(tmp_path) == []
    assert taken(tmp_path)


def test_the_lock_of_a_killed_run_is_taken_over_even_while_it_is_a_zombie(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        os.kill(first.pid, signal.SIGKILL)
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # dead but not collected: a zombie
        assert (tmp_path / NAME).exists()
        assert taken(tmp_path)
        write(tmp_path, replace(RunOwner.this(), pid=first.pid))
        first.wait()
        assert taken(tmp_path)


@pytest.mark.parametrize("word", ["fail", "interrupt"])
def test_an_error_and_ctrl_c_release_the_lock(tmp_path: Path, word: str) -> None:
    with holder(tmp_path) as first:
        if word == "interrupt":
            first.send_signal(signal.SIGINT)
        _, said = first.communicate("fail\n" if word == "fail" else None)
        assert ("on purpose" if word == "fail" else "KeyboardInterrupt") in said
    assert left_over(tmp_path) == []


def test_a_later_process_of_the_same_pid_is_another(tmp_path: Path) -> None:
    write(tmp_path, RunOwner.this())
    assert not taken(tmp_path)
    write(tmp_path, replace(RunOwner.this(), started="1"))
    assert taken(tmp_path)


@pytest.mark.parametrize("age", [-1e6, 1e6], ids=["future", "past"])
def test_a_clock_that_jumps_does_not_decide_whether_a_local_run_is_alive(
    tmp_path: Path, age: float, short_watch: None
) -> None:
    write(tmp_path, RunOwner.this(), age)
    assert not taken(tmp_path)
    write(tmp_path, replace(RunOwner.this(), started="1"), age)
    assert taken(tmp_path)


def test_a_remote_run_is_judged_by_its_heartbeat(tmp_path: Path, short_watch: None) -> None:
    write(tmp_path, elsewhere(), age=lock.STALE - 60)
    with (
        pytest.raises(UserError, match="host other, pid 1, since .*`irnet-ray label --out x`"),
        hold(_folder(tmp_path)),
    ):
        pass
    write(tmp_path, elsewhere(), age=lock.STALE + 60)
    assert taken(tmp_path)


def test_a_remote_run_with_a_heartbeat_is_alive_even_if_the_clock_has_jumped(tmp_path: Path, short_watch: None) -> None:
    write(tmp_path, elsewhere(), age=1e6)
    ended = threading.Event()

    def beat() -> None:
        past = time.time() - 1e6
        while not ended.wait(0.02):
            past += 0.02
            os.utime(tmp_path / NAME, (past, past))

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        assert not taken(tmp_path)
    finally:
        ended.set()
        beating.join()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff\xfe"])
def test_a_damaged_lock_is_judged_by_its_age(tmp_path: Path, content: bytes, short_watch: None) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UserError, match="left no name"), hold(_folder(tmp_path)):
        pass
    os.utime(tmp_path / NAME, (0, 0))
    assert taken(tmp_path)


def test_a_lock_is_touched_regularly(tmp_path: Path) -> None:
    with holder(tmp_path, beat=0.05):
        os.utime(tmp_path / NAME, (0, 0))
        _wait_for(lambda: (tmp_path / NAME).stat().st_mtime > 0)


def test_a_deleted_lock_is_created_again(tmp_path: Path) -> None:
    with holder(tmp_path, beat=0.05) as first:
        (tmp_path / NAME).unlink()
        _wait_for((tmp_path / NAME).exists)
        assert not taken(tmp_path)
        first.communicate("go\n")
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("ignored", [False, True], ids=["", "with Ctrl-C ignored"])
def test_a_run_whose_lock_was_taken_over_stops(tmp_path: Path, ignored: bool) -> None:
    with holder(tmp_path, beat=0.05, ignored=ignored) as first:
        aside = tmp_path / "new"
        aside.write_text(json.dumps(asdict(elsewhere())))
        os.replace(aside, tmp_path / NAME)
        assert first.wait(60) == 1 and first.stderr is not None
        said = first.stderr.read()
        assert f"another run took over {tmp_path}: host other, pid 1" in said.splitlines()[-1]
    assert json.loads((tmp_path / NAME).read_text())["host"] == "other"  # it belongs to the other run


def test_only_one_of_many_takes_over_a_dead_lock(tmp_path: Path) -> None:
    for trial in range(20):
        out = tmp_path / str(trial)
        out.mkdir()
        write(out, replace(RunOwner.this(), started="1"))
        _contend(out)


def test_only_one_of_many_gets_the_lock_without_flock_and_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    for trial in range(20):
        out = tmp_path / str(trial)
        out.mkdir()
        _contend(out)
        monkeypatch.setattr(lock.os, "link", unsupported)


def _contend(out: Path) -> None:
    inside, most, start = [0], [0], threading.Barrier(8)
    counting = threading.Lock()

    def run() -> None:
        start.wait()
        try:
            with hold(_folder(out)):
                with counting:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0.01)
                with counting:
                    inside[0] -= 1
        except UserError:
            pass

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == 1
    assert left_over(out) == []


def test_a_run_can_enter_its_own_lock_again(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with hold(_folder(tmp_path)):
        with hold(_folder(tmp_path / "link")):
            assert (tmp_path / NAME).exists()
        assert (tmp_path / NAME).exists()
    assert not (tmp_path / NAME).exists()


def test_the_second_command_ends_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, RunOwner.this())
    monkeypatch.setattr(sys, "argv", ["irnet-ray", "label", "--out", str(tmp_path), "--backbone", "lite0"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith(f"irnet-ray: Another run writes to {tmp_path}: host ") and said.count("\n") == 1
    assert left_over(tmp_path) == [NAME]  # no scenes, no config


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=r"Cannot lock the run directory .*absent: "),
        hold(_folder(tmp_path / "absent")),
    ):
        pass


def _folder(path: Path) -> Folder:
    return Folder(str(path))


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
