"""What a training tells while it runs: its progress to the driver, and its curves to TensorBoard.

None of it ends a training: whether the output can be written is for the checkpoints to say.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

PROGRESS_INTERVAL = 2.0  # seconds between progress files
CURVES = "tensorboard"
QUEUE = 1 << 20  # points: never full, since putting into a full one would wait for a thread that may have died
EPOCH = re.compile(r"\.epoch(\d+)$")


class Reporter:
    """Averages loss terms over an epoch, tells the driver how far the training is, and draws its curves.

    Each epoch has an event file of its own, so that an epoch that is done again replaces its curves. Nothing can be
    appended to an object of a store: there the file is put when its epoch ends.
    """

    def __init__(self, folder: Folder | None, iterations: int | None = None) -> None:
        """Args: folder: where to tell, None for a worker that only counts; iterations: of the whole training."""
        self.folder, self.iterations = folder, iterations
        self.first: tuple[int, float] | None = None  # iteration that this process ended first, and when
        self.told = 0.0
        self.writer: SummaryWriter | None = None
        self.aside: tempfile.TemporaryDirectory[str] | None = None  # of curves that a store will hold
        self.sums: dict[str, float] = {}
        self.count = 0

    def begin(self, epoch: int, iteration: int) -> None:
        """Start an epoch at its first iteration; curves of it and of later ones, drawn by a run that died, go."""
        self.sums, self.count = {}, 0
        if self.folder is None:
            return
        with contextlib.suppress(OSError, UserError):
            self._draw(self.folder.folder(CURVES), epoch, iteration)

    def _draw(self, curves: Folder, epoch: int, iteration: int) -> None:
        from tensorboardX import SummaryWriter

        for name in curves.files():
            found = EPOCH.search(name)
            if found and int(found[1]) >= epoch:
                curves.remove(name)
        if not curves.is_local:
            self.aside = tempfile.TemporaryDirectory()
        # The step to purge from is for a TensorBoard that has read the removed files already.
        self.writer = SummaryWriter(
            self.aside.name if self.aside else curves.local_path,
            purge_step=iteration,
            filename_suffix=f".epoch{epoch:04d}",
            flush_secs=10,
            max_queue=QUEUE,
        )
        # Otherwise a process waits at its end for the writing thread to take all points, which one that a full disk
        # has ended never does.
        self.writer.file_writer.event_writer._event_queue.cancel_join_thread()

    def add(self, iteration: int, losses: dict[str, float], rate: float) -> None:
        """Take an iteration's loss terms and its learning rate."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        self.first = self.first or (iteration, time.monotonic())
        if self.writer is not None and self._is_drawing:
            for name, value in losses.items():
                self.writer.add_scalar(f"loss/{name}", value, iteration)
            self.writer.add_scalar("rate", rate, iteration)
        if self.folder is not None and time.monotonic() - self.told > PROGRESS_INTERVAL:
            self.told = time.monotonic()
            state = {"iteration": iteration + 1, "losses": self.means(), "pid": os.getpid(), **self._pace(iteration)}
            with contextlib.suppress(UserError):
                self.folder.write_json("progress.json", state)

    def _pace(self, iteration: int) -> dict[str, Any]:
        """Iterations in all, and per second since the first one, which takes longer."""
        if self.iterations is None:
            return {}
        first, since = self.first or (iteration, 0.0)
        pace = (iteration - first) / max(time.monotonic() - since, 1e-9) if iteration > first else None
        return {"iterations": self.iterations, "per_second": pace}

    def means(self) -> dict[str, float]:
        """Mean of each loss term since the epoch began."""
        return {name: value / max(1, self.count) for name, value in self.sums.items()}

    def end(self) -> None:
        """End the epoch: its curves are on disk, or in the store."""
        if self._is_drawing and self.writer is not None:
            with contextlib.suppress(OSError):
                self.writer.close()
        self.writer = None
        if self.aside is not None and self.folder is not None:
            with contextlib.suppress(OSError, UserError):
                for file in Path(self.aside.name).iterdir():
                    self.folder.folder(CURVES).write(file.name, file.read_bytes())
            self.aside.cleanup()
            self.aside = None

    @property
    def _is_drawing(self) -> bool:
        """Whether the thread that writes the curves lives: a disk that refuses them ends it."""
        return self.writer is not None and self.writer.file_writer.event_writer._worker.is_alive()
