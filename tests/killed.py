"""Kill a call at each of its file operations. It is a program that forks a child per operation, and kills it there.

    python -m tests.killed CALL TEMPLATE PLACE

`CALL` is `module:function argument ...`, called with a run directory and the arguments, which are numbers; `TEMPLATE`
is the run directory, copied to `PLACE/0`, `PLACE/1`, ... The child of `PLACE/n` does n operations and is killed. Prints
the number of operations.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from irnet_ray.runs.folder import Folder

OPERATIONS = ("os.rename", "os.remove", "os.rmdir", "os.symlink", "os.mkdir", "os.link")


def die_after(operations: int) -> None:
    """Kill this process instead of the file operation that follows this number of operations."""
    left = operations

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in OPERATIONS or writes:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    # The hook does not see deletions by Arrow, which takes one call for a folder. So delete file by file.
    def delete(folder: Folder) -> None:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder.local_path)

    def remove(folder: Folder, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{folder.local_path}/{name}")

    Folder.delete, Folder.remove = delete, remove  # type: ignore[method-assign]
    sys.addaudithook(hook)


def main(call: str, template: str, place: str) -> None:
    name, *words = call.split()
    module, _, function = name.partition(":")
    work = getattr(importlib.import_module(module), function)
    for operations in range(1000):
        out = Path(place, str(operations))
        shutil.copytree(template, out, symlinks=True)
        child = os.fork()
        if child == 0:
            die_after(operations)
            work(str(out), *map(int, words))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert os.waitstatus_to_exitcode(status) == 0
            print(operations)
            return
    raise AssertionError


if __name__ == "__main__":
    main(*sys.argv[1:])
