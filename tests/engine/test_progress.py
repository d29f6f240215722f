"""Progress: plain lines without a terminal, and a display whose failure never stops the work."""

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
    with display("seeds", "images", read, Console(file=out, force_terminal=terminal, width=200), "starting 3 workers"):
        wait(lambda: used)
    return out.getvalue()


def wait(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.005)


def test_plain_lines_show_stage_position_rate_and_note(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    readings = [
        Reading(40, 200, "starting 2 processes"),
        None,
        Reading(40, 200, "computing the first 20 images"),
        Reading(60, 200),
        Reading(80, 200, "2 errors"),
        Reading(200, 200),
    ]
    assert shown(iter(readings)).splitlines() == [
        "seeds: 40/200 images, starting 2 processes",
        "seeds: 40/200 images, computing the first 20 images",
        "seeds: 60/200 images",  # no rate yet: the first unit includes the start-up
        "seeds: 80/200 images, 2.0 images/s, 1:00 left, 2 errors",
        "seeds: 200/200 images, 7.0 images/s, 0:00 left",
    ]


@pytest.mark.parametrize(
    ("reading", "line"),
    [
        (Reading(0, 1000, "starting 2 processes"), "seeds: 0/1000 images, starting 2 processes"),
        (None, "seeds: starting 3 workers"),
    ],
)
def test_the_first_plain_line_comes_at_once_and_says_what_starts(
    monkeypatch: pytest.MonkeyPatch, reading: Reading | None, line: str
) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 3600.0)
    out = io.StringIO()
    with display("seeds", "images", lambda: reading, Console(file=out, width=200), "starting 3 workers"):
        wait(out.getvalue)
    assert out.getvalue() == f"{line}\n"


def test_work_that_starts_at_once_gets_no_early_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_INTERVAL", 3600.0)
    out = io.StringIO()
    with display("export", "images", lambda: Reading(0, 200), Console(file=out)):
        pass
    assert out.getvalue() == ""


def test_a_terminal_says_from_the_start_what_starts() -> None:
    assert "starting 3 workers" in shown(iter([None]), terminal=True)
    text = shown(iter([Reading(0, 1000, "starting 2 processes")]), terminal=True)
    assert "0/1000" in text and "starting 2 processes" in text


def test_rates_and_times_left_do_not_use_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    pace, now = progress._Pace(), 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for jump, done in ((0.0, 5), (0.0, 25), (-86400.0, 45), (1e9, 65)):
        monkeypatch.setattr(time, "time", lambda jump=jump: 1.7e9 + jump)
        rate, now = pace.rate(done), now + 10
    assert rate == 2.0


def test_a_terminal_gets_one_live_line() -> None:
    text = shown(iter([Reading(40, 200), Reading(60, 200, "2 errors")]), terminal=True)
    assert "\r" in text or "\x1b[" in text
    assert "60/200" in text and "images" in text and "2 errors" in text


def test_a_failing_reading_does_not_stop_the_work() -> None:
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
