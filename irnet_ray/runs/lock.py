"""One run at a time in a run directory: a second run is refused, and the lock of a dead run is taken over.

    OUT/lock.json     who writes here: host, pid, since when, which command; exists only while a run writes
    OUT/.lock.guard   empty; held by `flock` for the moment in which a lock is created, taken over or released

The lock file is created exclusively, which local and network file systems support. Object stores have their own lock,
see `object_lock`. Neither works in the other's place: a network file system may list a folder as it was a moment ago,
and an object store cannot create exclusively.

Whether a run is alive:

- A run on this machine: by its process. The run is dead if the process is gone, or if another process has its number
  (it started at another time). No clock is read, so a clock that jumps kills no run.
- A run on another machine: by its heartbeat. A run touches its lock every `BEAT` seconds. The run is dead if its lock
  is older than `STALE` seconds by the file system's own clock, and stays so while it is watched for `WATCH` seconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from irnet_ray.errors import UserError, reason
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.object_lock import ObjectLock
from irnet_ray.runs.owner import RunOwner

NAME = "lock.json"
GUARD = ".lock.guard"
BEAT = 20.0  # seconds between two heartbeats
STOP = signal.SIGUSR1
STALE = 120.0  # seconds without a heartbeat until a run on another machine may be dead
WATCH = 30.0  # seconds more, in which a heartbeat would show that only a clock has jumped
PATIENCE = 10.0  # seconds to wait for the guard, which is never held longer than a moment

# Calls inside a held lock pass: `label --then` trains under the lock of `label`. Another thread has its own context.
_held: ContextVar[frozenset[str]] = ContextVar("held", default=frozenset())


@dataclass(frozen=True)
class _Seen:
    """A lock as it was found; `owner` is None if its content cannot be parsed."""

    owner: RunOwner | None
    inode: int
    touched: float

    @property
    def who(self) -> str:
        return str(self.owner) if self.owner else f"a run that left no name in {NAME}"


@contextlib.contextmanager
def hold(folder: Folder) -> Iterator[None]:
    """Be the only run that writes to a run directory, for the length of the block. The folder must exist.

    The lock of a dead run is taken over.

    Raises:
        UserError: another run writes there, or the lock cannot be written.
        RuntimeError: at the end of the block, if a run on another machine took this one for dead and took its lock.
    """
    place = os.path.realpath(folder.local_path) if folder.is_local else folder.location.rstrip("/")
    if place in _held.get():
        yield
        return
    lock: _Lock | ObjectLock
    try:
        lock = _Lock(place) if folder.is_local else ObjectLock(folder, _stop, BEAT, STALE, WATCH)
        lock.acquire()
    except OSError as error:
        raise UserError(f"Cannot lock the run directory {place}: {reason(error)}.") from error
    before = _held.set(_held.get() | {place})
    try:
        with _stoppable():
            yield
    except KeyboardInterrupt:
        if lock.taken_by is None:
            raise
        raise RuntimeError(
            f"stopped: this run was silent for so long that another run took over {place}: {lock.taken_by}."
        ) from None
    finally:
        _held.reset(before)
        lock.release()


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let the heartbeat thread stop this run by `STOP`. A shell's background jobs may ignore the signal of Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(STOP, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(STOP, before)


def _stop() -> None:
    """Stop this run, from another thread."""
    stoppable = signal.getsignal(STOP) is signal.default_int_handler
    signal.pthread_kill(threading.main_thread().ident or 0, STOP if stoppable else signal.SIGINT)


class _Lock:
    """This process's lock of one folder."""

    def __init__(self, place: str) -> None:
        self.place, self.path = place, os.path.join(place, NAME)
        self.own = RunOwner.this()
        self.taken_by: str | None = None
        self.file = -1  # the lock file that this process created, even if its name leads to another one by now
        self.ended = threading.Event()

    def acquire(self) -> None:
        watched: _Seen | None = None
        while True:
            with self._guard():
                seen, now = self._look(), self._now()
                if seen is None:
                    if self._create():
                        break
                    continue
                if not self._is_dead(seen, now, watched):
                    if watched is not None or not self._may_be_dead(seen, now):
                        raise UserError(
                            f"Another run writes to {self.place}: {seen.who}; wait until it ends, or name another "
                            "output folder."
                        )
                else:
                    self._remove(seen)
                    continue
            watched = seen
            self._watch(seen)
        threading.Thread(target=self._beat, name="lock-heartbeat", daemon=True).start()

    def release(self) -> None:
        self.ended.set()
        with contextlib.suppress(OSError), self._guard():
            seen = self._look()
            if seen is not None and seen.inode == os.fstat(self.file).st_ino:
                os.unlink(self.path)
        with contextlib.suppress(OSError):
            os.close(self.file)

    def _may_be_dead(self, seen: _Seen, now: float) -> bool:
        """Whether the run is on another machine, or unknown, and has been silent for long."""
        here = seen.owner is not None and seen.owner.is_here
        return not here and now - seen.touched > STALE

    def _is_dead(self, seen: _Seen, now: float, watched: _Seen | None) -> bool:
        if seen.owner is not None and seen.owner.is_here:
            return not seen.owner.is_running
        return seen == watched and self._may_be_dead(seen, now)

    def _watch(self, seen: _Seen) -> None:
        until = time.monotonic() + WATCH
        while time.monotonic() < until and self._look() == seen:
            time.sleep(min(1.0, WATCH / 10))

    def _look(self, path: str | None = None) -> _Seen | None:
        """The lock that is there, if any."""
        try:
            with open(path or self.path, "rb") as file:
                state, data = os.fstat(file.fileno()), file.read()
        except FileNotFoundError:
            return None
        return _Seen(RunOwner.of(data), state.st_ino, state.st_mtime)

    def _now(self) -> float:
        """The file system's time: the clocks of the machines that share it may differ."""
        probe = os.path.join(self.place, f".{uuid.uuid4().hex}.tmp")
        try:
            with open(probe, "wb") as file:
                file.write(b".")
            return os.stat(probe).st_mtime
        finally:
            with contextlib.suppress(OSError):
                os.unlink(probe)

    def _create(self) -> bool:
        """Create the lock with its content; False if there is one already."""
        data = self.own.to_bytes()
        temporary = os.path.join(self.place, f".{self.own.token}.tmp")
        file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        try:
            os.write(file, data)
            try:
                os.link(temporary, self.path)  # exclusive and whole in one step, on network file systems too
            except FileExistsError:
                os.close(file)
                return False
            except OSError:  # a file system without hard links
                os.close(file)
                try:
                    file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
                except FileExistsError:
                    return False
                os.write(file, data)
        finally:
            os.unlink(temporary)
        if self.file >= 0:
            os.close(self.file)
        self.file = file
        return True

    def _remove(self, seen: _Seen) -> None:
        """Remove a dead run's lock. Without a guard another run may have replaced it; then that lock is put back."""
        aside = os.path.join(self.place, f".{uuid.uuid4().hex}.stale")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        if self._look(aside) != seen:
            with contextlib.suppress(FileExistsError):
                os.link(aside, self.path)
        os.unlink(aside)

    def _beat(self) -> None:
        while not self.ended.wait(BEAT):
            with contextlib.suppress(OSError):  # if the file system fails, the run itself reports it
                os.utime(self.file)
                seen = self._look()
                if seen is None:  # somebody deleted it; no other run may enter through that
                    with self._guard():
                        self._create()
                elif seen.inode != os.fstat(self.file).st_ino and not self.ended.is_set():
                    self.taken_by = seen.who
                    _stop()
                    return

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Let only one process create, judge or remove a lock at a time, if the file system supports `flock`."""
        file = os.open(os.path.join(self.place, GUARD), os.O_CREAT | os.O_RDWR, 0o644)
        until = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < until:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.01)
                except OSError:  # no flock here: creation is exclusive without it, and removal checks twice
                    break
            yield
        finally:
            os.close(file)
