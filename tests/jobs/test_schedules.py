"""The nightly job without Kubernetes: systemd and cron."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.jobs.commands import parse

JOBS = Path(__file__).resolve().parents[2] / "jobs"
ARGUMENTS = ["/data/out", "--keep", "7"]
RELABEL = ("/data/out", 7)
SUBMITTED = ("submit", {"verb": "relabel", "address": "http://127.0.0.1:8265", "arguments": ARGUMENTS})


def unit(name: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, strict=True)
    found.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds case
    found.read_string((JOBS / name).read_text())
    return found


def test_the_service_submits_once_and_never_beside_itself() -> None:
    service = unit("relabel.service")["Service"]
    assert service["Type"] == "oneshot"  # running until the job ends: systemd starts no second one
    assert parse(service["ExecStart"]) == SUBMITTED
    assert service["Environment"] == "RAY_AUTH_MODE=token"


def test_the_timer_is_a_nightly_one() -> None:
    timer = unit("relabel.timer")
    assert timer["Timer"]["Persistent"] == "true" and timer["Install"]["WantedBy"] == "timers.target"
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed here")
    done = subprocess.run(
        [analyze, "calendar", "--iterations=2", "--base-time=2026-01-01 00:00:00", timer["Timer"]["OnCalendar"]],
        capture_output=True,
        text=True,
        env={"TZ": "UTC", "LC_ALL": "C"},
    )
    assert done.returncode == 0, done.stderr
    assert re.findall(r"2026-01-0\d 02:30:00", done.stdout)[:1] == ["2026-01-01 02:30:00"]
    assert "2026-01-02 02:30:00" in done.stdout


def test_cron_submits_the_same_under_a_lock() -> None:
    lines = (JOBS / "crontab").read_text().splitlines()
    [job] = [line for line in lines if re.match(r"\d", line)]
    [by_ray] = [line for line in lines if re.match(r"# \d", line)]
    for line in (job, by_ray.removeprefix("# ")):
        *when, lock, option, _, _ = line.split(None, 8)[:9]
        assert when == ["30", "2", "*", "*", "*"] and (lock, option) == ("flock", "-n")
        assert "%" not in line  # a line break, to cron
    assert parse(job.split(".lock ")[1]) == SUBMITTED
    verb, options = parse(by_ray.split(" -- ")[1])
    assert verb == "relabel" and options["address"] == "auto" and (options["out"], options["keep"]) == RELABEL
