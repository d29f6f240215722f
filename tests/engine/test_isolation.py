"""Images that hang, die or exhaust the memory, in real processes: each costs only itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from irnet_ray.engine.mapping import MapResult
from irnet_ray.engine.session import Devices
from tests.engine.mapped import Ran

pytestmark = pytest.mark.filterwarnings("ignore::ray.util.annotations.RayDeprecationWarning")
KINDS = {2: "hang-network", 5: "seize-finish", 7: "eat-network", 9: "swell-load", 11: "kill-finish"}
IDS = [f"{number:02d}-{KINDS.get(number, 'good')}" for number in range(12)]
GOOD = [image_id for image_id in IDS if image_id.endswith("good")]
SECONDS = 8.0  # far more than a step of a good image takes, on a busy machine too
CGROUPS = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")]  # of version 1, and 2


@pytest.fixture(scope="module")
def cgroup() -> Iterator[Path | None]:
    """A memory cgroup of 200 MB, or None where creating one is not allowed."""
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


def test_an_image_that_misbehaves_costs_only_itself(ran: Ran) -> None:
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
