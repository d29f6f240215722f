"""Faults of images, of memory and of the disk: real processes that hang and die, real file systems that fill up."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from irnet_ray.engine.failures import at_most, failure
from irnet_ray.engine.mapping import MapResult
from irnet_ray.engine.progress import _Pace
from irnet_ray.engine.session import Devices
from irnet_ray.errors import UserError
from tests.engine.mapped import Ran
from tests.engine.mounts import Mount, mounted

pytestmark = pytest.mark.filterwarnings("ignore::ray.util.annotations.RayDeprecationWarning")
KINDS = {2: "hang-network", 5: "seize-finish", 7: "eat-network", 9: "swell-load", 11: "kill-finish"}
IDS = [f"{number:02d}-{KINDS.get(number, 'good')}" for number in range(12)]
GOOD = [image_id for image_id in IDS if image_id.endswith("good")]
SECONDS = 8.0  # far more than a step of a good image takes, on a busy machine too
CGROUPS = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")]  # of version 1, and 2


@pytest.fixture(scope="module")
def cgroup() -> Iterator[Path | None]:
    """A memory cgroup of 200 MB; None where none may be made."""
    root = next((root for root in CGROUPS if (root / "cgroup.procs").exists()), CGROUPS[0])
    made = root / f"irnet-ray-test-{os.getpid()}"
    try:
        made.mkdir()
        limit = next(made / name for name in ("memory.limit_in_bytes", "memory.max") if (made / name).exists())
        limit.write_text("200000000")
    except (OSError, StopIteration):
        if made.is_dir():
            made.rmdir()
        yield None
        return
    yield made
    for _ in range(100):  # its last process may still be dying
        try:
            made.rmdir()
            return
        except OSError:
            time.sleep(0.1)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, devices: Devices, cgroup: Path | None) -> Ran:
    ids = [i for i in IDS if cgroup or "swell" not in i]
    begun = Ran(tmp_path_factory.mktemp("faults"), devices, ids, 1, SECONDS)
    (begun.log / "cgroup").write_text(str(cgroup))
    begun.first = begun.run()
    return begun


def test_what_one_image_does_costs_that_image(ran: Ran) -> None:
    every = ran.ids[0]
    assert ran.first == MapResult(len(GOOD), len(every) - len(GOOD), len(every))
    rows, errors = ran.table("rows"), ran.table("errors")
    assert sorted(rows) == GOOD and sorted(errors) == sorted(set(every) - set(GOOD))
    assert all(rows[i]["trail"] == f"loaded {i}, seen, finished" for i in GOOD)


@pytest.mark.parametrize(("image_id", "step"), [("02-hang-network", "network"), ("05-seize-finish", "finish")])
def test_an_image_that_hangs_is_timed_out(ran: Ran, image_id: str, step: str) -> None:
    error = ran.table("errors")[image_id]
    assert (error["kind"], error["stage"], error["uri"]) == ("timed-out", "toy", f"/{image_id}")
    assert error["message"] == f"Its step {step} took longer than 8 s, the time limit (knob image_seconds)."
    # In its unit at most twice, and once alone: what hangs does not get all the time there is.
    assert 1 <= ran.calls(step, image_id) <= 3


def test_an_image_that_eats_the_memory_it_may_have_leaves_its_process_alive(ran: Ran) -> None:
    error = ran.table("errors")["07-eat-network"]
    assert (error["kind"], error["stage"]) == ("out-of-memory", "toy")
    assert error["message"] == "The image needs more memory than there is: MemoryError."


def test_an_image_that_eats_the_machines_memory_is_ended_by_the_kernel(ran: Ran, cgroup: Path | None) -> None:
    if cgroup is None:
        pytest.skip("no memory cgroup may be made here")
    error = ran.table("errors")["09-swell-load"]
    assert (error["kind"], error["stage"]) == ("worker-died", "toy")
    assert "out of memory" in error["message"]
    assert 1 <= ran.calls("load", "09-swell-load") <= 4


def test_an_image_that_kills_its_process_has_died(ran: Ran) -> None:
    assert ran.table("errors")["11-kill-finish"]["kind"] == "worker-died"


def test_nothing_of_a_fault_is_left(ran: Ran) -> None:
    assert not list(Path(ran.result.folder.local_path).rglob("units/*/*"))
    assert ran.run() == MapResult(ran.first.rows, ran.first.errors, 0)


def test_time_limits_end_with_their_block() -> None:
    with at_most(0.2):
        pass
    with pytest.raises(ZeroDivisionError), at_most(0.2):
        raise ZeroDivisionError
    time.sleep(0.5)  # this process would be gone


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_whoever_says_so_memory_has_one_kind(error: Exception) -> None:
    kind, message = failure(error)
    assert kind == "out-of-memory" and message.startswith("The image needs more memory than there is: ")
    assert failure(RuntimeError("no memory of that")) == ("RuntimeError", "no memory of that")


FULL = [f"{number:02d}-{'large' if number % 2 else 'good'}" for number in range(24)]


def stops(ran: Ran, place: Path, why: str) -> None:
    """The run stops in one sentence; nothing is half there, nothing tried again, no image blamed."""
    with pytest.raises(UserError) as caught:
        ran.run()
    assert str(caught.value).startswith(f"Cannot write to {place}") and "\n" not in str(caught.value)
    assert why in str(caught.value) and "run the same command again" in str(caught.value)
    assert ran.result.sealed() == set()
    for image_id in ran.ids[0]:
        assert ran.calls("load", image_id) <= 1
    for name in ran.result.units(0).files():
        assert ran.result.units(0).read_table(name)["error"].null_count == ran.unit


def goes_on(ran: Ran) -> None:
    """The same run again ends as if nothing had been, and computes only what is missing."""
    left = ran.result.missing(0, ran.ids[0])
    assert 0 < len(left) < len(ran.ids[0])
    assert ran.run() == MapResult(len(ran.ids[0]), 0, len(left))
    assert sorted(ran.table("rows")) == sorted(ran.ids[0])
    done = set(ran.ids[0]) - set(left)
    assert all(ran.calls("load", image_id) == 1 for image_id in done)


def in_mount(mount: Mount, folder: Path, devices: Devices, ids: list[str]) -> Ran:
    """The toy stage whose result lies in a file system of its own."""
    return Ran(folder, devices, ids, 1).afresh(mount.path)


@contextmanager
def after_first_unit(ran: Ran, act: Callable[[], None]) -> Iterator[None]:
    """Do something as soon as a unit is committed; only then the image that waits goes on."""

    def watch() -> None:
        while not ran.result.units(0).files():
            time.sleep(0.05)
        act()
        (ran.log / "go").touch()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield
    thread.join(60)


def test_a_full_disk_stops_the_run_and_the_next_goes_on(tmp_path: Path, devices: Devices) -> None:
    with mounted(tmp_path / "disk", "256k") as mount:
        ran = in_mount(mount, tmp_path, devices, FULL)
        stops(ran, mount.path / "toy", "no space is left")
        mount.remount("size=64m")
        goes_on(ran)


def test_a_disk_that_becomes_read_only_stops_the_run_and_the_next_goes_on(tmp_path: Path, devices: Devices) -> None:
    ids = [f"{number:02d}-{'wait-load' if number == 6 else 'good'}" for number in range(12)]
    with mounted(tmp_path / "disk", "64m") as mount:
        ran = in_mount(mount, tmp_path, devices, ids)
        with after_first_unit(ran, lambda: mount.remount("ro")):
            stops(ran, mount.path / "toy", "the file system is read-only")
        mount.remount("rw")
        goes_on(ran)


def test_rates_and_times_left_know_no_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    pace, now = _Pace(), 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for jump, done in ((0.0, 5), (-86400.0, 25), (1e9, 45)):
        monkeypatch.setattr(time, "time", lambda jump=jump: 1.7e9 + jump)
        rate, now = pace.rate(done), now + 10
    assert rate == 2.0
