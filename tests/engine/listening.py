"""A driver that starts an embedded Ray, lets it work, and prints every address that its processes listen on."""

from __future__ import annotations

import os
from pathlib import Path

from tests.engine.processes import MARK


def listening() -> set[tuple[str, str]]:
    """(address as the kernel writes it, name of the process) of each listening TCP socket of the marked processes."""
    needle, owner = f"{MARK}={os.environ[MARK]}".encode(), {}
    for process in Path("/proc").iterdir():
        try:
            if not process.name.isdigit() or needle not in (process / "environ").read_bytes().split(b"\0"):
                continue
            name = (process / "comm").read_text().strip()
            for file in (process / "fd").iterdir():
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


def main() -> None:
    """Print "<address> <process>" lines."""
    import ray

    from irnet_ray.engine.session import session

    with session(None):
        assert ray.get(ray.remote(lambda: 7).remote()) == 7
        for address, name in sorted(listening()):
            print(address, name)


if __name__ == "__main__":
    main()
