"""One run at a time in a run directory: a second one is refused, and a dead one holds nobody up.

    OUT/lock.json     who writes here: host, pid, since when, which command; there only while a run writes
    OUT/.lock.guard   empty; held by `flock` for the moment in which a lock is created, taken over or released

The lock is created exclusively, which local and network file systems can do. Object stores have a lock of their own,
see `object_lock`: here a listing may be older than what was written, there nothing is created exclusively.

Whether a run is alive:

- It is of this machine: by its process. Gone, or another process under the same number (it began at another time), is
  dead. No clock has a say, so that no jump of it kills a run.
- It is of another machine: by its heartbeat. A run touches its lock every `BEAT` seconds; one that has not for
  `STALE` seconds, by the file system's own clock, and does not while it is watched for `WATCH` seconds, is dead.
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

from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.object_lock import ObjectLock
from irnet_ray.runs.owner import Holder

NAME = "lock.json"
GUARD = ".lock.guard"
BEAT = 20.0  # seconds between two heartbeats
STOP = signal.SIGUSR1
STALE = 120.0  # seconds without a heartbeat, after which a run of another machine counts as dead
WATCH = 30.0  # seconds more in which it may show that only a clock has jumped
PATIENCE = 10.0  # seconds for the guard, which is never held longer than a moment

# Calls within a held lock pass: `label --then` trains under the lock of `label`. Another thread has its own context.
_held: ContextVar[frozenset[str]] = ContextVar("held", default=frozenset())


@dataclass(frozen=True)
class _Seen:
    """A lock as it was found; `holder` is None where its content cannot be read."""

    holder: Holder | None
    inode: int
    touched: float

    @property
    def who(self) -> str:
        return str(self.holder) if self.holder else "one that left no name in it"


@contextlib.contextmanager
def hold(folder: Folder) -> Iterator[None]:
    """Be the only run that writes to a run directory, for the length of the block. The folder must exist.

    The lock of a dead run is taken over.

    Raises:
        UserError: another run writes there, or the lock cannot be written.
        RuntimeError: at the end of the block: another machine took this run for dead, and the lock over.
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
        raise UserError(f"Cannot lock the run directory {place}: {error.strerror or error}.") from error
    before = _held.set(_held.get() | {place})
    try:
        with _stoppable():
            yield
    except KeyboardInterrupt:
        if lock.taken_by is None:
            raise
        raise RuntimeError(
            f"stopped, since this run stood still for so long that another took {place} over: {lock.taken_by}."
        ) from None
    finally:
        _held.reset(before)
        lock.release()


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let the watching thread stop this run: by a signal of its own, since a shell's background ignores Ctrl-C's."""
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
        self.own = Holder.this()
        self.taken_by: str | None = None
        self.file = -1  # the lock's own file, whatever its name leads to by now
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
        """Whether a run that cannot be looked up is silent for long."""
        here = seen.holder is not None and seen.holder.is_here
        return not here and now - seen.touched > STALE

    def _is_dead(self, seen: _Seen, now: float, watched: _Seen | None) -> bool:
        if seen.holder is not None and seen.holder.is_here:
            return not seen.holder.is_running
        return seen == watched and self._may_be_dead(seen, now)

    def _watch(self, seen: _Seen) -> None:
        until = time.monotonic() + WATCH
        while time.monotonic() < until and self._look() == seen:
            time.sleep(min(1.0, WATCH / 10))

    def _look(self, path: str | None = None) -> _Seen | None:
        """The lock that is there."""
        try:
            with open(path or self.path, "rb") as file:
                state, data = os.fstat(file.fileno()), file.read()
        except FileNotFoundError:
            return None
        return _Seen(Holder.of(data), state.st_ino, state.st_mtime)

    def _now(self) -> float:
        """The file system's time: the clocks of machines that share one may differ."""
        probe = os.path.join(self.place, f".{uuid.uuid4().hex}.tmp")
        try:
            with open(probe, "wb") as file:
                file.write(b".")
            return os.stat(probe).st_mtime
        finally:
            with contextlib.suppress(OSError):
                os.unlink(probe)

    def _create(self) -> bool:
        """Create the lock with its content; False if there is one."""
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
        """Remove a dead run's lock. Where there is no guard, another run may have replaced it: that one is put back."""
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
            with contextlib.suppress(OSError):  # a file system that is away for a while is for the run to report
                os.utime(self.file)
                seen = self._look()
                if seen is None:  # deleted by hand: nobody may come in by that
                    with self._guard():
                        self._create()
                elif seen.inode != os.fstat(self.file).st_ino and not self.ended.is_set():
                    self.taken_by = seen.who
                    _stop()
                    return

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Keep others from creating, judging and removing at the same moment, where the file system can."""
        file = os.open(os.path.join(self.place, GUARD), os.O_CREAT | os.O_RDWR, 0o644)
        until = time.monotonic() + PATIENCE
        try:
            while time.monotonic() < until:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.01)
                except OSError:  # no such thing here: creation is exclusive all the same, and removal looks twice
                    break
            yield
        finally:
            os.close(file)
