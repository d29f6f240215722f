"""Ray's start and stop."""

from __future__ import annotations

import math
import os
import socket
from pathlib import Path

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from irnet_ray.engine.session import ACTORS_PER_GPU, Devices, _give_token, reason, session
from irnet_ray.errors import UserError
from tests.engine.processes import Marked


def test_workers_are_one_per_gpu_or_else_per_core() -> None:
    laptop, server = Devices(cpus=4, gpus=0, nodes=1), Devices(cpus=64, gpus=8, nodes=2)
    assert [d.network_workers(None) for d in (laptop, server)] == [4, 8 * ACTORS_PER_GPU]
    assert [d.train_workers(None) for d in (laptop, server)] == [1, 8]
    assert [d.network_workers(3) for d in (laptop, server)] == [3, 3]
    assert [d.train_workers(3) for d in (laptop, server)] == [3, 3]
    assert [d.train_workers(9) for d in (laptop, server)] == [9, 8], "of a GPU's processes one trains"
    assert Devices(cpus=2, gpus=1, nodes=1).network_workers(None) == 2, "no more than a GPU has cores"
    assert Devices(cpus=2, gpus=4, nodes=1).network_workers(None) == 4
    assert str(laptop) == "4 CPU cores, no GPU, 1 node"
    assert str(server) == "64 CPU cores, 8 GPUs, 2 nodes"


@given(st.integers(0, 16), st.integers(1, 64))
def test_all_network_actors_fit_on_the_gpus(gpus: int, actors: int) -> None:
    share = Devices(cpus=16, gpus=gpus, nodes=1).gpu_share(actors)
    assert (0 < share <= 1) if gpus else share == 0
    if gpus:
        assert math.floor(1 / share + 1e-9) * gpus >= actors


def test_the_caller_s_ray_is_used_and_not_stopped(devices: Devices) -> None:
    with session("ray.invalid:6379") as found:
        assert found == devices
    assert ray.is_initialized()
    assert devices.cpus >= 1 and devices.nodes == 1


def test_an_embedded_ray_has_no_dashboard(devices: Devices) -> None:
    assert not ray._private.worker.global_worker.node.address_info["webui_url"]


@pytest.mark.parametrize("given", ["nothing", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "a file"])
def test_an_embedded_ray_has_the_user_s_token_or_one_that_is_in_no_file(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "the user's")
        if name != given:
            monkeypatch.delenv(name)
    if given == "a file":
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("the user's")
    before = os.environ.get("RAY_AUTH_TOKEN")
    _give_token()
    after = os.environ.get("RAY_AUTH_TOKEN")
    assert len(after or "") == 64 if given == "nothing" else after == before
    assert given == "a file" or not list(tmp_path.iterdir())


def test_the_reason_is_what_the_worker_said() -> None:
    error = ray.exceptions.RayTaskError("fail", "Traceback ...\n  File x\n\nValueError: no such tensor\n", ValueError())
    assert reason(error) == "ValueError: no such tensor"
    assert reason(MemoryError()) == "MemoryError"


def test_a_missing_cluster_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as held:  # bound but not listening: nobody else can take the port, nobody answers
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        for named in (address, f"ray://{address}"):
            with pytest.raises(UserError, match=f"No Ray cluster can be used at {named}: .*refused"), session(named):
                pass
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(UserError, match="refused"), session(None):
            pass


def test_more_workers_than_can_start_are_refused() -> None:
    Devices(cpus=2, gpus=0, nodes=1).check(2)
    Devices(cpus=2, gpus=0, nodes=1).check(None)
    with pytest.raises(UserError, match="--workers 3 is more than the 2 CPU cores here"):
        Devices(cpus=2, gpus=0, nodes=1).check(3)
    Devices(cpus=16, gpus=1, nodes=1).check(4)
    with pytest.raises(UserError, match="--workers 5 is more than the 4 processes that share its GPUs here"):
        Devices(cpus=16, gpus=1, nodes=1).check(5)
    with pytest.raises(UserError, match="--workers 2 is more than the 1 GPUs here"):
        Devices(cpus=16, gpus=1, nodes=1).check(2, only_training=True)


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at the sockets as Linux shows them")
def test_an_embedded_ray_listens_on_loopback_only_while_it_trains_too(tmp_path: Path) -> None:
    with Marked("-m", "tests.engine.listening", tmp_path, log=tmp_path / "log") as driver:
        driver.finish()
    lines = [line.split(" ", 1) for line in (tmp_path / "listening").read_text().splitlines()]
    assert {name for _, name in lines} >= {"gcs_server", "raylet"}
    assert sum(name.startswith("ray::RayTrain") for _, name in lines) >= 1  # the rendezvous among them
    assert [line for line in lines if line[0] not in LOOPBACK] == []
