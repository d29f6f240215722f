"""Find the processes of one command, Ray's included, by a mark in their environment: to kill one, or to leave none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

MARK = "IRNET_RAY_TEST"
PATIENCE = 600.0  # seconds after which a test gives up: far more than a busy machine needs


class Marked:
    """A command whose processes all carry a mark. None of them outlives the block."""

    def __init__(self, *command: str | Path, log: Path) -> None:
        self.mark, self.log = uuid.uuid4().hex, log
        environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        # Without GPUs, whose rounding differs and which may be fewer than the workers asked for.
        environment |= {MARK: self.mark, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        with log.open("w") as out:
            self.driver = subprocess.Popen(
                [sys.executable, *map(str, command)], env=environment, stdout=out, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> Marked:
        return self

    def __exit__(self, *_: object) -> None:
        if self.driver.poll() is None:
            self.driver.kill()
            self.driver.wait()
        # Ray's processes end with their driver, but not at once; one that was just starting may take a minute.
        deadline = time.monotonic() + 20
        while self.others() and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in self.others():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def others(self) -> list[int]:
        """Ids of the marked processes that are alive."""
        needle, found = f"{MARK}={self.mark}".encode(), []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and needle in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds; the command must not end before."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            ended = self.driver.poll() is not None and not condition()
            assert not ended, f"ended early:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"waited in vain:\n{self.log.read_text()}"
            time.sleep(0.02)

    def kill(self) -> None:
        """End the driver as a power cut would."""
        self.driver.kill()
        self.driver.wait()

    def finish(self) -> str:
        """Wait for the command's success; returns what it printed."""
        code = self.driver.wait(PATIENCE)
        text = self.log.read_text()
        assert code == 0, text
        return text
