"""Two processes that connect as the workers of a training do; each prints every address that it listens on."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import torch

from irnet_ray.engine import rendezvous
from tests.engine.listening import listening

TIMEOUT = timedelta(seconds=900)


def main(port: int | None) -> None:
    """Print "<rank> <sum over the ranks> <address>" lines; without a port, be met at, and start the other."""
    rank, other = 1, None
    if port is None:
        rank, port = 0, rendezvous.listen(TIMEOUT)
        other = subprocess.Popen([sys.executable, "-m", "tests.engine.meeting", str(port)])
    rendezvous.join(port, rank, 2, "gloo", TIMEOUT)
    total = torch.tensor([10.0 + rank])
    torch.distributed.all_reduce(total)
    torch.distributed.barrier()
    # One write for all lines: both processes write to the same file, and their lines must not mix.
    sys.stdout.write("".join(f"{rank} {total.item():g} {address}\n" for address, _ in sorted(listening())))
    sys.stdout.flush()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    if other is not None:
        assert other.wait() == 0


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else None)
