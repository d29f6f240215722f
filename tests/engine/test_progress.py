"""Progress: plain lines where there is no terminal, and a display that never ends the work it displays."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console

from irnet_ray.engine import progress
from irnet_ray.engine.progress import Reading, display


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 0.01)
    monkeypatch.setattr(progress, "LIVE_INTERVAL", 0.01)


def shown(readings: Iterator[Reading | None], terminal: bool = False) -> str:
    """What is displayed until the readings are used up."""
    used = False

    def read() -> Reading | None:
        nonlocal used
        try:
            return next(readings)
        except StopIteration:
            used = True
            return None

    out = io.StringIO()
    with display("seeds", "images", read, Console(file=out, force_terminal=terminal, width=200)):
        wait(lambda: used)
    return out.getvalue()


def wait(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.005)


def test_plain_lines_say_stage_place_rate_and_note(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    lines = shown(iter([Reading(40, 200), None, Reading(60, 200, "2 errors"), Reading(200, 200)])).splitlines()
    assert lines[0] == "seeds: 40/200 images"  # done before: no rate yet
    assert lines[1].startswith("seeds: 60/200 images, 2.0 images/s, 1:10 left, 2 errors")
    assert lines[2].startswith("seeds: 200/200 images") and "0:00 left" in lines[2]
    assert len(lines) == 3


def test_a_terminal_gets_one_live_line() -> None:
    text = shown(iter([Reading(40, 200), Reading(60, 200, "2 errors")]), terminal=True)
    assert "\r" in text or "\x1b[" in text
    assert "60/200" in text and "images" in text and "2 errors" in text


def test_a_reading_that_fails_ends_nothing() -> None:
    def readings() -> Iterator[Reading]:
        yield Reading(1, 5)
        raise ConnectionError("no tally")

    for terminal in (False, True):
        assert "Traceback" not in shown(readings(), terminal)


def test_an_error_in_the_work_passes_through() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        display("seeds", "images", lambda: Reading(0, 1), Console(file=io.StringIO())),
    ):
        1 / 0  # noqa: B018
