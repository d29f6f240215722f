"""The lock of a run directory in an object store, which lists what was written the moment it was written.

    OUT/lock/<host>-<pid>-<token>.json   a run that writes here, or that is about to ask whether it may

A run writes its own object first and lists the others then. Of two runs at least the one whose object came later sees
the other's, so that never both go on; where each sees the other, both are refused, which costs nothing but a try.

Alive or dead is told as for a local lock: of a run of this machine by its process, of another by its object, which it
writes again every few seconds. How old that is, the store's own clock says: the time of the newest object is now.
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
from irnet_ray.runs.owner import Holder

NAME = "lock"


@dataclass(frozen=True)
class _Other:
    """Another run's object; `holder` is None where its content cannot be read."""

    name: str
    holder: Holder | None
    touched: float
    replaced: tuple[str, ...]  # names of the objects of runs that it took for dead

    def __str__(self) -> str:
        return str(self.holder) if self.holder else f"one that left no name in {NAME}/{self.name}"


class ObjectLock:
    """This process's lock of one folder."""

    def __init__(self, folder: Folder, stop: Callable[[], None], beat: float, stale: float, watch: float) -> None:
        """Args: stop: called from a thread where another run took this one for dead; the others are seconds."""
        self.folder, self.place = folder.folder(NAME), folder.location
        self.stop, self.beat, self.stale, self.watch = stop, beat, stale, watch
        self.own, self.replaced = Holder.this(), list[str]()
        host = re.sub(r"[^\w.-]", "-", self.own.host)
        self.name = f"{host}-{self.own.pid}-{self.own.token}.json"
        self.taken_by: str | None = None
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._beat, name="lock-heartbeat", daemon=True)

    def acquire(self) -> None:
        """Raises UserError where another run is alive."""
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
                self._write()  # before they go, so that one that wakes up is told
                for other in dead:
                    self.folder.remove(other.name)
        except BaseException:
            self.release()
            raise
        self.thread.start()

    def release(self) -> None:
        """Give the lock up; where the store is away, its age will tell."""
        self.ended.set()
        if self.thread.ident is not None:
            self.thread.join()  # a heartbeat on its way would come after the removal
        with contextlib.suppress(UserError, OSError):
            self.folder.remove(self.name)

    def _write(self) -> None:
        content = {**json.loads(self.own.to_bytes()), "replaced": self.replaced}
        self.folder.write_json(self.name, content)

    def _look(self) -> tuple[float, list[_Other]]:
        """The store's time, which is that of this run's object just written, and the other runs' objects."""
        times = self.folder.times()
        others = (self._read(name, touched) for name, touched in sorted(times.items()) if name != self.name)
        return times.get(self.name, 0.0), [other for other in others if other is not None]

    def _read(self, name: str, touched: float) -> _Other | None:
        try:
            data = self.folder.read(name)
        except FileNotFoundError:
            return None
        holder, replaced = Holder.of(data), tuple[str, ...]()
        if holder is not None:
            replaced = tuple(map(str, json.loads(data).get("replaced", ())))
        return _Other(name, holder, touched, replaced)

    def _is_dead(self, other: _Other, now: float) -> bool:
        if other.holder is not None and other.holder.is_here:
            return not other.holder.is_running
        if now - other.touched <= self.stale:
            return False
        # Only a clock may have jumped: it has some time to show that it lives.
        until = time.monotonic() + self.watch
        while time.monotonic() < until:
            time.sleep(min(1.0, self.watch / 10))
            touched = self.folder.times().get(other.name)
            if touched != other.touched:
                return touched is None
        return True

    def _beat(self) -> None:
        while not self.ended.wait(self.beat):
            with contextlib.suppress(UserError, OSError):  # a store that is away for a while is for the run to report
                self._write()
                _, others = self._look()
                takers = [other for other in others if self.name in other.replaced]
                if takers and not self.ended.is_set():
                    self.taken_by = str(takers[0])
                    self.stop()
                    return
