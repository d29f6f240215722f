"""The lock of object stores, on a local folder; tests/object_store/test_locking.py tests it on a store."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.object_lock import NAME, ObjectLock
from irnet_ray.runs.owner import RunOwner

BEAT, STALE, WATCH = 0.05, 30.0, 0.2


def lock_of(out: Path, stop: Callable[[], None] = lambda: None) -> ObjectLock:
    return ObjectLock(Folder(str(out)), stop, BEAT, STALE, WATCH)


def leave(out: Path, owner: RunOwner, silent: float = 0, replaced: tuple[str, ...] = ()) -> Path:
    """The object of another run, written some seconds ago."""
    path = out / NAME / f"{owner.token}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**asdict(owner), "replaced": replaced}))
    os.utime(path, (time.time() - silent,) * 2)
    return path


def objects(out: Path) -> list[str]:
    return sorted(path.name for path in (out / NAME).glob("*.json"))


def elsewhere() -> RunOwner:
    return replace(RunOwner.this(), host="other", machine="another boot")


def test_the_lock_is_an_object_that_is_removed_at_the_end(tmp_path: Path) -> None:
    lock = lock_of(tmp_path)
    lock.acquire()
    assert objects(tmp_path) == [lock.name]
    lock.release()
    assert objects(tmp_path) == []


@pytest.mark.parametrize("owner", [RunOwner.this(), elsewhere()], ids=["here", "elsewhere"])
def test_a_second_run_is_refused_and_leaves_the_first_alone(tmp_path: Path, owner: RunOwner) -> None:
    first = leave(tmp_path, owner)
    with pytest.raises(
        UserError, match=f"^Another run writes to {tmp_path}: host {owner.host}, pid .*; wait until it ends"
    ):
        lock_of(tmp_path).acquire()
    assert objects(tmp_path) == [first.name]


def test_dead_runs_are_replaced_and_listed(tmp_path: Path) -> None:
    dead = [leave(tmp_path, replace(RunOwner.this(), started="1")).name, leave(tmp_path, elsewhere(), 1e6).name]
    lock = lock_of(tmp_path)
    lock.acquire()
    assert objects(tmp_path) == [lock.name]
    assert sorted(json.loads((tmp_path / NAME / lock.name).read_text())["replaced"]) == sorted(dead)
    lock.release()


def test_a_heartbeat_during_the_watch_shows_that_a_run_is_alive(tmp_path: Path) -> None:
    silent = leave(tmp_path, elsewhere(), 1e6)
    ended = threading.Event()

    def beat() -> None:
        past = time.time() - 1e6
        while not ended.wait(0.01):
            past += 0.01
            os.utime(silent, (past, past))

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        with pytest.raises(UserError, match="Another run writes to"):
            lock_of(tmp_path).acquire()
    finally:
        ended.set()
        beating.join()


def test_a_damaged_object_is_judged_by_its_age(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    damaged = tmp_path / NAME / "x.json"
    damaged.write_text("{")
    with pytest.raises(UserError, match=r"left no name in lock/x\.json"):
        lock_of(tmp_path).acquire()
    os.utime(damaged, (0, 0))
    lock = lock_of(tmp_path)
    lock.acquire()
    lock.release()


def test_a_run_that_another_replaced_is_stopped(tmp_path: Path) -> None:
    stopped = threading.Event()
    lock = lock_of(tmp_path, stopped.set)
    lock.acquire()
    leave(tmp_path, elsewhere(), replaced=(lock.name,))
    assert stopped.wait(60) and lock.taken_by is not None and lock.taken_by.startswith("host other, pid ")
    lock.release()
