"""One live progress display, or plain lines when the output is not a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from irnet_ray.text import duration

PLAIN_INTERVAL = 15.0  # seconds between plain lines
LIVE_INTERVAL = 0.5


@dataclass(frozen=True)
class Reading:
    """How far a stage is: `done` of `total`, and a few words (a loss, a count of errors, what is starting)."""

    done: int
    total: int
    note: str = ""


Read = Callable[[], Reading | None]


@contextmanager
def display(
    stage: str, unit: str, read: Read, console: Console | None = None, starting: str = "starting"
) -> Iterator[None]:
    """Show a stage's progress while the block runs.

    Args:
        stage: its name.
        unit: what is counted, in the plural.
        read: called from a thread; None as long as there is nothing to count.
        console: where to; None for standard output.
        starting: shown until `read` returns something.
    """
    console = console or Console()
    stop = threading.Event()
    show = _live if console.is_terminal else _plain
    thread = threading.Thread(target=show, args=(stage, unit, read, stop, console, starting), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _live(stage: str, unit: str, read: Read, stop: threading.Event, console: Console, starting: str) -> None:
    columns = (
        TextColumn("{task.description:<11}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(stage, total=None, rate="", note=starting)
        pace = _Pace()
        while True:
            is_last = stop.is_set()
            reading = _try(read)
            if reading is not None:
                rate = pace.rate(reading.done)
                bar.update(
                    task,
                    completed=reading.done,
                    total=reading.total,
                    note=reading.note,
                    rate=f"{rate:.1f}/s" if rate else "",
                )
            if is_last:
                return
            stop.wait(LIVE_INTERVAL)


def _plain(stage: str, unit: str, read: Read, stop: threading.Event, console: Console, starting: str) -> None:
    pace = _Pace()

    def show(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    first = _try(read)
    if first is None:
        show(f"{stage}: {starting}")
    elif first.note:  # something starts, which takes a while
        show(_line(stage, unit, first, pace))
    while not stop.wait(PLAIN_INTERVAL):
        reading = _try(read)
        if reading is not None:
            show(_line(stage, unit, reading, pace))


class _Pace:
    """Units per second since the first unit was seen done, so that neither start-up nor an earlier run counts."""

    def __init__(self) -> None:
        self.before: int | None = None  # done by an earlier run
        self.first: tuple[float, int] | None = None  # when this run's first unit was seen, and what was done then

    def rate(self, done: int) -> float:
        """Units per second, 0 while unknown."""
        now = time.monotonic()
        if self.before is None:
            self.before = done
        if self.first is None:
            self.first = (now, done) if done > self.before else None
            return 0.0
        since, already = self.first
        return (done - already) / (now - since) if done > already else 0.0


def _line(stage: str, unit: str, reading: Reading, pace: _Pace) -> str:
    rate = pace.rate(reading.done)
    left = f", {duration((reading.total - reading.done) / rate)} left" if rate else ""
    speed = f", {rate:.1f} {unit}/s" if rate else ""
    note = f", {reading.note}" if reading.note else ""
    return f"{stage}: {reading.done}/{reading.total} {unit}{speed}{left}{note}"


def _try(read: Read) -> Reading | None:
    # A display must never end the work that it displays.
    try:
        return read()
    except Exception:
        return None
