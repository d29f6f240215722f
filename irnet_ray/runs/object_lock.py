"""The lock of a run directory in an object store, where a listing shows every object that was written before it.

    OUT/lock/<host>-<pid>-<token>.json   a run that writes here, or is about to find out whether it may

A run writes its own object first, then lists the others. Of two runs, at least the one whose object came later sees
the other's, so the two never both continue. If each sees the other, both are refused, and a new try costs nothing.

A run is judged alive or dead as by the local lock: on this machine by its process, elsewhere by the age of its object,
which it writes again every few seconds. The store's own clock gives the age: the time of the newest object is now.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.owner import RunOwner

NAME = "lock"


@dataclass(frozen=True)
class _Other:
    """Another run's object; `owner` is None if its content cannot be parsed."""

    name: str
    owner: RunOwner | None
    touched: float
    replaced: tuple[str, ...]  # names of the objects of runs that it took for dead

    def __str__(self) -> str:
        return str(self.owner) if self.owner else f"a run that left no name in {NAME}/{self.name}"


class ObjectLock:
    """This process's lock of one folder."""

    def __init__(self, folder: Folder, stop: Callable[[], None], beat: float, stale: float, watch: float) -> None:
        """Prepare the lock.

        Args:
            folder: the run directory.
            stop: called from a thread if another run took this one for dead.
            beat: seconds between two heartbeats.
            stale: seconds without a heartbeat until a run on another machine may be dead.
            watch: seconds to watch such a run before it counts as dead.
        """
        self.folder, self.place = folder.folder(NAME), folder.location
        self.stop, self.beat, self.stale, self.watch = stop, beat, stale, watch
        self.own, self.replaced = RunOwner.this(), list[str]()
        host = re.sub(r"[^\w.-]", "-", self.own.host)
        self.name = f"{host}-{self.own.pid}-{self.own.token}.json"
        self.taken_by: str | None = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._beat, name="lock-heartbeat", daemon=True)

    def acquire(self) -> None:
        """Take the lock. Raises UserError if another run is alive."""
        self._write()
        try:
            now, others = self._look()
            dead = [other for other in others if self._is_dead(other, now)]
            living = [other for other in others if other not in dead]
            if living:
                raise UserError(
                    f"Another run writes to {self.place}: {living[0]}; wait until it ends, or name another output "
                    "folder."
                )
            if dead:
                self.replaced = [other.name for other in dead]
                self._write()  # before their objects go, so that one of them that wakes up learns of it
                for other in dead:
                    self.folder.remove(other.name)
        except BaseException:
            self.release()
            raise
        self.thread.start()

    def release(self) -> None:
        """Give the lock up. If the store cannot be reached, the object's age will show that this run has ended."""
        self.ended.set()
        if self.thread.ident is not None:
            self.thread.join()  # otherwise a heartbeat under way could write the object again
        with contextlib.suppress(UserError, OSError):
            self.folder.remove(self.name)

    def _write(self) -> None:
        content = {**json.loads(self.own.to_bytes()), "replaced": self.replaced}
        self.folder.write_json(self.name, content)

    def _look(self) -> tuple[float, list[_Other]]:
        """The store's time, taken from this run's object that was just written, and the other runs' objects."""
        times = self.folder.times()
        others = (self._read(name, touched) for name, touched in sorted(times.items()) if name != self.name)
        return times.get(self.name, 0.0), [other for other in others if other is not None]

    def _read(self, name: str, touched: float) -> _Other | None:
        try:
            data = self.folder.read(name)
        except FileNotFoundError:
            return None
        owner, replaced = RunOwner.of(data), tuple[str, ...]()
        if owner is not None:
            replaced = tuple(map(str, json.loads(data).get("replaced", ())))
        return _Other(name, owner, touched, replaced)

    def _is_dead(self, other: _Other, now: float) -> bool:
        if other.owner is not None and other.owner.is_here:
            return not other.owner.is_running
        if now - other.touched <= self.stale:
            return False
        # Perhaps only a clock has jumped: give the run some time to show that it is alive.
        until = time.monotonic() + self.watch
        while time.monotonic() < until:
            time.sleep(min(1.0, self.watch / 10))
            touched = self.folder.times().get(other.name)
            if touched != other.touched:
                return touched is None
        return True

    def _beat(self) -> None:
        while not self.ended.wait(self.beat):
            with contextlib.suppress(UserError, OSError):  # if the store fails, the run itself reports it
                self._write()
                _, others = self._look()
                takers = [other for other in others if self.name in other.replaced]
                if takers and not self.ended.is_set():
                    self.taken_by = str(takers[0])
                    self.stop()
                    return
