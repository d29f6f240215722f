"""A small file system for a test, to fill up or to make read-only while others write."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Mount:
    """A mounted tmpfs."""

    path: Path

    def remount(self, options: str) -> None:
        """Change its options; waits while somebody is just writing."""
        for _ in range(200):
            done = subprocess.run(
                ["mount", "-o", f"remount,{options}", str(self.path)], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                return
            time.sleep(0.05)
        raise OSError(done.stderr)


@contextmanager
def mounted(path: Path, size: str) -> Iterator[Mount]:
    """Mount a tmpfs for the block. Skips the test where mounting is not allowed."""
    path.mkdir()
    try:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "irnet-ray-test", str(path)]
        subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no file system may be mounted here: {error}")
    try:
        yield Mount(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=False)
