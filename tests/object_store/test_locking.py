"""The lock of a run directory in an object store: one run at a time, by what the store lists and its clock."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

import pytest

from irnet_ray.errors import UserError
from irnet_ray.runs import lock
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.lock import hold
from irnet_ray.runs.owner import RunOwner
from tests.object_store.proxy import Fault, Proxy, Request

HOLDER = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from irnet_ray.runs import lock
from irnet_ray.runs.folder import Folder
lock.BEAT = float(sys.argv[2])
with lock.hold(Folder(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
print("done", flush=True)
"""


@contextmanager
def holder(out: Folder, beat: float = 20) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is told a word."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, out.location, str(beat)],
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
        process.communicate()


def locks(out: Folder) -> list[str]:
    return out.folder("lock").files()


def taken(out: Folder) -> bool:
    """Whether the lock can be had."""
    try:
        with hold(out):
            (name,) = locks(out)
            assert f"-{os.getpid()}-" in name
    except UserError:
        return False
    assert locks(out) == []
    return True


def elsewhere() -> RunOwner:
    return replace(RunOwner.this(), host="other", machine="other boot", pid=1, command="irnet-ray label --out x")


def write(out: Folder, holder: RunOwner, replaced: tuple[str, ...] = ()) -> None:
    """Leave a lock of somebody else behind."""
    name = f"{holder.host}-{holder.pid}-{holder.token}.json"
    out.folder("lock").write_json(name, {**asdict(holder), "replaced": replaced})


@pytest.fixture
def soon_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "STALE", 2.0)
    monkeypatch.setattr(lock, "WATCH", 2.0)


def test_the_second_run_is_refused_while_the_first_goes_on_and_ends(out: Folder) -> None:
    with holder(out) as first:
        with pytest.raises(UserError) as caught, hold(out):
            raise AssertionError("two runs hold the lock")
        said = str(caught.value)
        assert f"{out.location}: host {socket.gethostname()}, pid {first.pid}, since 20" in said
        assert len(locks(out)) == 1  # the refused one has withdrawn
        assert first.communicate("go\n")[0] == "done\n"
    assert locks(out) == []
    assert taken(out)


def test_a_killed_run_s_lock_is_taken_over(out: Folder) -> None:
    with holder(out) as first:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert len(locks(out)) == 1
        assert taken(out)


def test_another_machine_s_run_lives_by_its_heartbeat(out: Folder, soon_stale: None) -> None:
    write(out, elsewhere())
    with pytest.raises(UserError, match="host other, pid 1, since .*`irnet-ray label --out x`"), hold(out):
        pass
    time.sleep(3.5)  # the store tells whole seconds
    assert taken(out)


def test_another_machine_s_run_that_still_beats_is_not_dead(out: Folder, soon_stale: None) -> None:
    other, ended = elsewhere(), threading.Event()
    write(out, other)
    time.sleep(3.5)

    def beat() -> None:
        while not ended.wait(0.5):
            write(out, other)

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        assert not taken(out)
    finally:
        ended.set()
        beating.join()


def test_what_cannot_be_read_counts_by_its_age(out: Folder, soon_stale: None) -> None:
    out.folder("lock").write("x.json", b"{")
    with pytest.raises(UserError, match=r"left no name in lock/x\.json"), hold(out):
        pass
    time.sleep(3.5)
    assert taken(out)


def test_never_two_of_many_get_it(out: Folder) -> None:
    inside, most, got, start = [0], [0], [0], threading.Barrier(6)
    counting = threading.Lock()

    def run() -> None:
        for _ in range(3):
            start.wait()
            try:
                with hold(Folder(out.location)):
                    with counting:
                        inside[0], got[0] = inside[0] + 1, got[0] + 1
                        most[0] = max(most[0], inside[0])
                    time.sleep(0.2)
                    with counting:
                        inside[0] -= 1
            except UserError:
                pass

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] <= 1
    assert locks(out) == []


def test_of_two_that_look_at_the_same_moment_none_goes_on(out: Folder, store: Proxy) -> None:
    both = threading.Barrier(2)

    def together(request: Request) -> Fault | None:
        if request.method == "GET" and "list-type" in request.path:
            both.wait(60)
        return None

    refused: list[str] = []

    def run() -> None:
        try:
            with hold(Folder(out.location)):
                pass
        except UserError as error:
            refused.append(str(error))

    store.fault = together
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.fault = lambda _: None
    assert len(refused) == 2 and all("Another run writes to" in said for said in refused)
    assert locks(out) == []


def test_a_run_that_was_taken_for_dead_stops(out: Folder) -> None:
    with holder(out, beat=0.2) as first:
        (own,) = locks(out)
        write(out, elsewhere(), replaced=(own,))
        assert first.wait(120) == 1 and first.stderr is not None
        assert f"another run took over {out.location}: host other, pid 1" in first.stderr.read().splitlines()[-1]
    (left,) = locks(out)
    assert left.startswith("other-1-")  # not ours to remove


def test_a_dead_run_s_successor_says_so_before_it_goes_on(out: Folder) -> None:
    dead = replace(RunOwner.this(), started="1")
    write(out, dead)
    with hold(out):
        (name,) = locks(out)
        assert json.loads(out.folder("lock").read(name))["replaced"] == [f"{dead.host}-{dead.pid}-{dead.token}.json"]


def test_a_lock_deleted_by_hand_comes_back(out: Folder) -> None:
    with holder(out, beat=0.2) as first:
        (own,) = locks(out)
        out.folder("lock").remove(own)
        while locks(out) != [own]:
            assert first.poll() is None
            time.sleep(0.05)


def test_within_a_held_lock_the_same_run_passes(out: Folder) -> None:
    with hold(out):
        with hold(Folder(f"{out.location}/")):
            assert len(locks(out)) == 1
        assert len(locks(out)) == 1
    assert locks(out) == []
