"""Faults of the disk: real file systems that fill up or become read-only during a map stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from irnet_ray.engine.mapping import MapResult
from irnet_ray.engine.session import Devices
from irnet_ray.errors import UserError
from tests.engine.mapped import Ran
from tests.engine.mounts import Mount, mounted

pytestmark = pytest.mark.filterwarnings("ignore::ray.util.annotations.RayDeprecationWarning")
FULL = [f"{number:02d}-{'large' if number % 2 else 'good'}" for number in range(24)]


def stops(ran: Ran, place: Path, why: str) -> None:
    """The run stops with one sentence. No file is half written, nothing is retried, no image gets an error."""
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
    """The same run again computes only what is missing, and ends as an undisturbed run does."""
    left = ran.result.missing(0, ran.ids[0])
    assert 0 < len(left) < len(ran.ids[0])
    assert ran.run() == MapResult(len(ran.ids[0]), 0, len(left))
    assert sorted(ran.table("rows")) == sorted(ran.ids[0])
    done = set(ran.ids[0]) - set(left)
    assert all(ran.calls("load", image_id) == 1 for image_id in done)


def in_mount(mount: Mount, folder: Path, devices: Devices, ids: list[str]) -> Ran:
    """The toy stage, whose result is in its own file system."""
    return Ran(folder, devices, ids, 1).afresh(mount.path)


@contextmanager
def after_first_unit(ran: Ran, act: Callable[[], None]) -> Iterator[None]:
    """Do something once a unit is committed, then let the waiting image continue."""

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
