"""The processes that chaos kills: those of a command and of a local cluster's nodes, found by a mark.

The mark is in the environment, which processes inherit. A process without it is never killed, so chaos kills only
processes that it started. Reads /proc: Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import signal
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARK = "IRNET_RAY_CHAOS"
# The titles that Ray gives its workers. The loader processes of a training worker inherit its title.
TITLES = {
    "actor": re.compile(r"ray::MapWorker"),
    "task": re.compile(r"ray::(Map\(|Write|Shards\.seal|seal)"),
    "trainer": re.compile(r"ray::RayTrainWorker"),
}
ATTEMPTS = 4  # at starting a node
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 10,
}


@dataclass(frozen=True)
class Process:
    """A process when it was found."""

    pid: int
    parent: int
    title: str


def carries(pid: int, mark: str) -> bool:
    """Whether a process is alive and its mark begins with `mark`."""
    needle = f"{MARK}={mark}".encode()
    try:
        return any(entry.startswith(needle) for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except OSError:
        return False


def marked(mark: str) -> list[Process]:
    """The living processes whose mark begins with `mark`."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and carries(int(name), mark):
            with contextlib.suppress(OSError):
                title = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                after = Path(f"/proc/{name}/stat").read_bytes().rpartition(b")")[2].split()
                found.append(Process(int(name), int(after[1]), title.strip()))
    return found


def workers(processes: list[Process], kind: str) -> list[Process]:
    """Ray's workers of a kind, without the processes that they forked."""
    found = [process for process in processes if TITLES[kind].match(process.title)]
    pids = {process.pid for process in found}
    return [process for process in found if process.parent not in pids]


def kill(pid: int, mark: str) -> bool:
    """SIGKILL a process if it still has the mark. Returns whether it did."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not carries(pid, mark):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)


def kill_all(mark: str, patience: float = 30.0) -> None:
    """Kill all processes whose mark begins with `mark`, also those that start while it runs."""
    deadline = time.monotonic() + patience
    while (left := marked(mark)) and time.monotonic() < deadline:
        for process in left:
            kill(process.pid, mark)
        time.sleep(0.2)


class Nodes:
    """A local cluster of two nodes with one core each. The second can be killed; a new one replaces it."""

    def __init__(self, mark: str) -> None:
        from ray.cluster_utils import Cluster

        logging.getLogger("ray").setLevel(logging.ERROR)
        self.mark, self.lost = f"{mark}-node", 0
        self.cluster = Cluster()
        self._add(include_dashboard=False, _system_config=HEALTH)
        self.second = self._add()

    @property
    def address(self) -> str:
        """The value for `--address`."""
        return str(self.cluster.address)

    def lose(self) -> int:
        """Kill all processes of the second node at once, and start a new node. Returns how many were killed."""
        mark = self._mark()
        # The node's own processes first: it must not see its workers die one by one.
        processes = sorted(marked(mark), key=lambda process: process.title.startswith("ray::"))
        killed = sum(kill(process.pid, mark) for process in processes)
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.lost += 1
        self.second = self._add()
        return killed

    def _mark(self) -> str:
        return f"{self.mark}-{self.lost}." if self.cluster.head_node else f"{self.mark}-head."

    def _add(self, **arguments: Any) -> Any:
        # Ray's processes and their workers inherit it.
        os.environ[MARK] = mark = self._mark()
        try:
            for _ in range(ATTEMPTS - 1):
                try:
                    return self.cluster.add_node(num_cpus=1, **arguments)
                except Exception as error:  # Ray raises it for a node that starts slowly on a busy machine
                    logging.getLogger("ray").error("a node did not start: %s", error)
                    kill_all(mark)
            return self.cluster.add_node(num_cpus=1, **arguments)
        finally:
            del os.environ[MARK]


class Opens:
    """Counts how often any process opens each image file. A process that recomputes an image opens it again."""

    EVENT = struct.Struct("iIII")
    IN_OPEN, IN_CLOSE_NOWRITE = 0x20, 0x10

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.handle: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        # Also closings: the kernel merges equal events that follow each other.
        events = self.IN_OPEN | self.IN_CLOSE_NOWRITE
        if self.handle < 0 or libc.inotify_add_watch(self.handle, os.fsencode(folder), events) < 0:
            raise OSError(ctypes.get_errno(), f"Cannot watch {folder}")

    def read(self) -> Counter[str]:
        """Opens by file name since the last call."""
        return Counter(name for data in iter(self._chunk, b"") for name in self._names(data))

    def _chunk(self) -> bytes:
        try:
            return os.read(self.handle, 1 << 16)
        except BlockingIOError:
            return b""

    def _names(self, data: bytes) -> Iterator[str]:
        start = 0
        while start < len(data):
            _, mask, _, length = self.EVENT.unpack_from(data, start)
            start += self.EVENT.size
            if mask & self.IN_OPEN and (name := data[start : start + length].rstrip(b"\0")):
                yield os.fsdecode(name)
            start += length
