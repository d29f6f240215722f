"""What a training reports while it runs: its progress to the driver, and its curves to TensorBoard.

Neither can end a training. Whether the output directory is writable is for the checkpoints to find out.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from irnet_ray.errors import UserError, reason
from irnet_ray.runs.folder import Folder

PROGRESS_INTERVAL = 2.0  # seconds between progress files
FLUSH_INTERVAL = 10.0  # seconds between flushes of the curves
CURVES = "tensorboard"
EPOCH = re.compile(r"\.epoch(\d+)$")


class Reporter:
    """Averages loss terms over an epoch, tells the driver how far the training is, and draws its curves.

    Each epoch has its own event file, so a repeated epoch replaces its curves. An object in a store cannot be appended
    to, so there the file is uploaded when its epoch ends.
    """

    def __init__(self, folder: Folder | None, iterations: int | None = None) -> None:
        """Args: folder: where to report, None for a worker that only averages; iterations: of the whole training."""
        self.folder, self.iterations = folder, iterations
        self.first: tuple[int, float] | None = None  # the first iteration that this process finished, and when
        self.told = 0.0
        self.events: EventFile | None = None
        self.temporary: tempfile.TemporaryDirectory[str] | None = None  # for curves that go to a store
        self.sums: dict[str, float] = {}
        self.count = 0

    def begin(self, epoch: int, iteration: int) -> None:
        """Start an epoch at its first iteration. Removes curves of this and later epochs that a dead run has left."""
        self.sums, self.count = {}, 0
        if self.folder is None:
            return
        try:
            self._open(self.folder.folder(CURVES), epoch, iteration)
        except (OSError, UserError) as error:
            self._stop_drawing(iteration, error)

    def _open(self, curves: Folder, epoch: int, iteration: int) -> None:
        for name in curves.files():
            found = EPOCH.search(name)
            if found and int(found[1]) >= epoch:
                curves.remove(name)
        if not curves.is_local:
            self.temporary = tempfile.TemporaryDirectory()
        self.events = EventFile(Path(self.temporary.name if self.temporary else curves.local_path), epoch, iteration)

    def add(self, iteration: int, losses: dict[str, float], rate: float) -> None:
        """Take an iteration's loss terms and its learning rate."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        self.first = self.first or (iteration, time.monotonic())
        if self.events is not None:
            try:
                self.events.add(iteration, {**{f"loss/{name}": value for name, value in losses.items()}, "rate": rate})
            except OSError as error:
                self._stop_drawing(iteration, error)
        if self.folder is not None and time.monotonic() - self.told > PROGRESS_INTERVAL:
            self.told = time.monotonic()
            state = {"iteration": iteration + 1, "losses": self.means(), "pid": os.getpid(), **self._pace(iteration)}
            with contextlib.suppress(UserError):
                self.folder.write_json("progress.json", state)

    def _stop_drawing(self, iteration: int, error: Exception) -> None:
        """Draw nothing until the next epoch, and say in the worker's log why the curves have a gap."""
        why = reason(error) if isinstance(error, OSError) else error
        print(f"The curves of this epoch end at iteration {iteration}: {why}", file=sys.stderr, flush=True)
        if self.events is not None:
            with contextlib.suppress(OSError):  # closing tries once more to write what is buffered
                self.events.close()
        self.events = None

    def _pace(self, iteration: int) -> dict[str, Any]:
        """Length of the training, and iterations per second since the first one, which takes longer."""
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
        if self.events is not None:
            with contextlib.suppress(OSError):
                self.events.close()
            self.events = None
        if self.temporary is not None and self.folder is not None:
            with contextlib.suppress(OSError, UserError):
                for file in Path(self.temporary.name).iterdir():
                    self.folder.folder(CURVES).write(file.name, file.read_bytes())
            self.temporary.cleanup()
            self.temporary = None


class EventFile:
    """A file of scalars for TensorBoard, written by the thread that trains.

    tensorboardX's SummaryWriter writes from a thread of its own, which a full disk ends without a word: the queue to it
    is then never emptied, and its exit hook fails. Here a write that fails raises OSError where it happens.
    """

    def __init__(self, folder: Path, epoch: int, iteration: int) -> None:
        """Create the file of an epoch, in a folder that need not exist. Raises OSError."""
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads a folder's files in the order of their names, so the time comes first.
        name = f"events.out.tfevents.{time.time():010.0f}.{socket.gethostname()}.epoch{epoch:04d}"
        self.records, self.flushed = RecordWriter(str(folder / name)), time.monotonic()
        self._write(Event(file_version="brain.Event:2"))
        # A TensorBoard that has read the removed files forgets their points from this step on.
        self._write(Event(step=iteration, session_log=SessionLog(status=SessionLog.START)))
        self.records.flush()

    def add(self, iteration: int, values: dict[str, float]) -> None:
        """Append one point to each curve. Raises OSError."""
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(Event(step=iteration, summary=Summary(value=points)))
        if time.monotonic() - self.flushed > FLUSH_INTERVAL:
            self.records.flush()
            self.flushed = time.monotonic()

    def _write(self, event: Any) -> None:
        event.wall_time = time.time()
        self.records.write(event.SerializeToString())

    def close(self) -> None:
        """Write what is buffered and close the file. Raises OSError."""
        self.records.close()
