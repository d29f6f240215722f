"""A driver that starts an embedded Ray, trains with it, and prints every address that its processes listen on.

python -m tests.engine.listening FOLDER
"""

from __future__ import annotations

import dataclasses
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from irnet_ray.engine.schedule import Schedule
from tests.engine import toy_training
from tests.engine.processes import MARK

SCHEDULE = Schedule(epochs=1, iterations_per_epoch=2, batch_size=4, power=0.9, seed=7)


def processes() -> dict[int, str]:
    """Ids and names of the marked processes and their children: Ray's workers overwrite the mark with their title."""
    needle = f"{MARK}={os.environ[MARK]}".encode()
    names: dict[int, str] = {}
    children: dict[int, list[int]] = {}
    waiting: list[int] = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit():
                names[pid := int(process.name)] = (process / "comm").read_text().strip()
                parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
                children.setdefault(int(parent), []).append(pid)
                if needle in (process / "environ").read_bytes().split(b"\0"):
                    waiting.append(pid)
        except OSError:
            continue
    found: dict[int, str] = {}
    while waiting:
        pid = waiting.pop()
        found[pid] = names[pid]
        waiting += [child for child in children.get(pid, []) if child not in found]
    return found


def listening() -> set[tuple[str, str]]:
    """(address as the kernel writes it, name of the process) of each listening TCP socket of these processes."""
    owner = {}
    for pid, name in processes().items():
        try:
            for file in Path(f"/proc/{pid}/fd").iterdir():
                owner[os.readlink(file)] = name
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in owner:
                found.add((fields[1].partition(":")[0], owner[f"socket:[{fields[9]}]"]))
    return found


class LookingTask(toy_training.ToyTask):
    """Look at the sockets in the middle of a training, when the workers have connected to each other."""

    def losses(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        assert torch.distributed.get_world_size() == toy_training.WORKERS
        if self.calls == 1 and torch.distributed.get_rank() == 0:
            lines = [f"{address} {name}\n" for address, name in sorted(listening())]
            (self.folder / "listening").write_text("".join(lines))
        return super().losses(model, batch)


def main(folder: Path) -> None:
    """Print "<address> <process>" lines."""
    from irnet_ray.engine.session import session
    from irnet_ray.engine.training import run_training
    from irnet_ray.runs.folder import Folder

    stage = toy_training.stage(folder, "indexed", SCHEDULE)
    stage = dataclasses.replace(stage, build=partial(LookingTask, folder, "indexed"))
    with session(None) as devices:
        run_training(stage, Folder(str(folder / "out")), devices, toy_training.WORKERS)
    print((folder / "listening").read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
