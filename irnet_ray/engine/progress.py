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
    """How far a stage is: `done` of `total`, and a few words (a loss, a count of errors)."""

    done: int
    total: int
    note: str = ""


@contextmanager
def display(
    stage: str, unit: str, read: Callable[[], Reading | None], console: Console | None = None
) -> Iterator[None]:
    """Show a stage's progress while the block runs; `read` is called from a thread and may return None."""
    console = console or Console()
    stop = threading.Event()
    show = _live if console.is_terminal else _plain
    thread = threading.Thread(target=show, args=(stage, unit, read, stop, console), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _live(stage: str, unit: str, read: Callable[[], Reading | None], stop: threading.Event, console: Console) -> None:
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
        task = bar.add_task(stage, total=None, rate="", note="starting")
        pace = _Pace()
        while True:
            last = stop.wait(LIVE_INTERVAL)
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
            if last:
                return


def _plain(stage: str, unit: str, read: Callable[[], Reading | None], stop: threading.Event, console: Console) -> None:
    pace = _Pace()
    while not stop.wait(PLAIN_INTERVAL):
        reading = _try(read)
        if reading is None:
            continue
        rate = pace.rate(reading.done)
        left = f", {duration((reading.total - reading.done) / rate)} left" if rate else ""
        speed = f", {rate:.1f} {unit}/s" if rate else ""
        note = f", {reading.note}" if reading.note else ""
        console.print(
            f"{stage}: {reading.done}/{reading.total} {unit}{speed}{left}{note}", highlight=False, soft_wrap=True
        )


class _Pace:
    """Rate since the first reading, so that start-up and work done by an earlier run do not count."""

    def __init__(self) -> None:
        self.first: tuple[float, int] | None = None

    def rate(self, done: int) -> float:
        """Units per second, 0 while unknown."""
        now = time.monotonic()
        if self.first is None:
            self.first = (now, done)
        since, before = self.first
        return (done - before) / (now - since) if done > before else 0.0


def _try(read: Callable[[], Reading | None]) -> Reading | None:
    # A display must never end the work that it displays.
    try:
        return read()
    except Exception:
        return None
