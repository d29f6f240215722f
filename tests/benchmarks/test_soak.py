"""The soak with few images runs, takes samples, and finds no leftovers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.processes import Marked


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads /proc")
def test_a_few_hundred_images_leave_nothing_over(tmp_path: Path) -> None:
    arguments = ("--images", "300", "--unit", "10", "--step", "100")
    with Marked("-m", "benchmarks.soak", *arguments, log=tmp_path / "log") as soak:
        printed = soak.finish()
    lines = [line for line in printed.splitlines() if line[:5] in ("ok   ", "FAIL ")]
    assert len(lines) == 6 and all(line.startswith("ok") for line in lines)
    assert "   300 " in printed
