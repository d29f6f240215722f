"""Times two ways of the same work in turn in one process: medians, quartiles, and the machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from irnet_ray.algorithms.precision import has_bfloat16


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    device: torch.device
    quick: bool  # smaller sizes
    repeats: int
    run: str | None  # a finished run, whose networks and images the rows about stages use


@dataclass(frozen=True)
class Row:
    """One line of the table: how many times faster ours is than the baseline, and the target."""

    name: str
    ours: float  # median, in `unit`
    baseline: float
    ratio: float  # median over rounds of baseline / ours
    low: float  # its quartiles
    high: float
    target: float | None  # the least ratio wanted; None: for information
    note: str
    unit: str = "s"

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.ratio >= self.target


def seconds(work: Callable[[], object], device: torch.device, wall: bool = False) -> float:
    """Time of one call. On a CPU it is the CPU time of this process, so that other programs do not count.

    On a GPU it is wall time. So it is with `wall`, for work that other processes do.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    clock = time.perf_counter if wall or device.type == "cuda" else time.process_time
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def compare(
    name: str,
    ours: Callable[[], object],
    baseline: Callable[[], object],
    options: Options,
    target: float | None,
    note: str = "",
    *,
    once: bool = False,
    wall: bool = False,
) -> Row:
    """Time both in turn, after a first call of each that does not count.

    Args:
        name: what is compared.
        ours: our way.
        baseline: the other way.
        options: the options of the command line.
        target: the least ratio wanted, None for none.
        note: for the last column.
        once: the baseline takes minutes, so it is called only once, and this call counts.
        wall: other processes do the work.
    """
    ours()
    if not once:
        baseline()
    times: list[tuple[float, float]] = []
    for _ in range(options.repeats):
        first = seconds(ours, options.device, wall)
        second = times[0][1] if once and times else seconds(baseline, options.device, wall)
        times.append((first, second))
    return row(name, times, target, note)


def row(name: str, times: list[tuple[float, float]], target: float | None, note: str, unit: str = "s") -> Row:
    """One line of the table from pairs (ours, baseline) that were measured in turn."""
    ratios = [baseline / ours for ours, baseline in times]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    ours, baseline = (statistics.median(values) for values in zip(*times, strict=True))
    return Row(name, ours, baseline, statistics.median(ratios), low, high, target, note, unit)


def bandwidth(device: torch.device) -> float:
    """Bytes per second that a copy of a large array reads and writes: the best of five."""
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    return 2 * source.nbytes / min(seconds(lambda: target.copy_(source), device) for _ in range(5))


def matrix_rate(device: torch.device) -> float:
    """Operations per second of a large matrix product, in bfloat16 if the device has it: the best of five."""
    side = 8192 if device.type == "cuda" else 2048
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16 if has_bfloat16(device) else torch.float32)
    matrix @ matrix
    return 2 * side**3 / min(seconds(lambda: matrix @ matrix, device) for _ in range(5))


def machine(device: torch.device) -> str:
    """The machine in one line."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU used"
    return (
        f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {platform.system()} "
        f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, {gpu}"
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def check(name: str, worst: float, allowed: float) -> float:
    """Raise AssertionError if the two ways disagree: comparing their times would be meaningless."""
    if not worst <= allowed:
        raise AssertionError(f"{name}: the results differ by {worst:.2e}, more than {allowed:.0e}.")
    return worst
