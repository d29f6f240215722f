"""The process that owns a run directory: which one it is, and whether it is still alive."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess  # nosec B404 - for `ps` alone
import sys
import uuid
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

from irnet_ray.text import cut

ENDED = "ended"  # in place of a start time


@dataclass(frozen=True)
class RunOwner:
    """The run that holds a lock."""

    host: str
    machine: str  # host, boot and pid namespace: the pid means something only there
    pid: int
    started: str  # when the process started, by the kernel: tells it from a later process of the same pid
    since: str
    command: str
    token: str  # unique to this lock

    @staticmethod
    def this() -> RunOwner:
        """The run of this process."""
        pid, now = os.getpid(), datetime.now(UTC)
        command = shlex.join([os.path.basename(sys.argv[0]), *sys.argv[1:]])
        return RunOwner(
            socket.gethostname(),
            _machine(),
            pid,
            _started(pid),
            f"{now:%Y-%m-%d %H:%M:%S} UTC",
            command,
            uuid.uuid4().hex,
        )

    @staticmethod
    def of(data: bytes) -> RunOwner | None:
        """Parse what `to_bytes` wrote; None if it cannot be parsed."""
        try:
            content = json.loads(data)
            text = {field.name: str(content[field.name]) for field in fields(RunOwner) if field.name != "pid"}
            return RunOwner(pid=int(content["pid"]), **text)
        except (ValueError, KeyError, TypeError):
            return None

    def to_bytes(self) -> bytes:
        """The content of the lock file: JSON, for people and for other runs."""
        return (json.dumps(asdict(self), indent=2) + "\n").encode()

    def __str__(self) -> str:
        return f"host {self.host}, pid {self.pid}, since {self.since}, `{cut(self.command, 300)}`"

    @property
    def is_here(self) -> bool:
        """Whether its process runs, or ran, on this machine, so that it can be looked up."""
        return self.machine == _machine()

    @property
    def is_running(self) -> bool:
        """Whether its process is alive. Ask only if `is_here`."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:  # it belongs to another user
            pass
        started = _started(self.pid)
        return started != ENDED and (not started or not self.started or started == self.started)


def _machine() -> str:
    """Names where a pid of this process is valid. Hosts may share a name, and containers may share a host."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id") as file:
        parts.append(file.read().strip())
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> str:
    """When a process started, by the kernel. `ENDED` for a zombie, "" if it cannot be found out."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, *rest = file.read().rpartition(b")")[2].split()
        return ENDED if state in (b"Z", b"X") else rest[18].decode()  # ticks since the boot
    except OSError:
        pass
    try:
        # Safe: no shell, and the only argument is a number. The path of `ps` differs between systems.
        done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True)  # nosec B603 B607
    except OSError:
        return ""
    return done.stdout.strip()
