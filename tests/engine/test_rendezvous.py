"""The address at which the workers of a training connect."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray.train.torch import TorchConfig

from irnet_ray.engine.rendezvous import LoopbackConfig, torch_config
from tests.engine.processes import Marked
from tests.engine.test_session import LOOPBACK


def test_it_is_as_open_as_ray_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for address, kind in (("127.0.0.1", LoopbackConfig), ("::1", LoopbackConfig), ("10.0.0.7", TorchConfig)):
        monkeypatch.setattr("ray.util.get_node_ip_address", lambda address=address: address)
        assert type(torch_config()) is kind


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks at the sockets as Linux shows them")
def test_on_one_machine_it_listens_on_loopback_only(tmp_path: Path) -> None:
    with Marked("-m", "tests.engine.meeting", log=tmp_path / "log") as meeting:
        lines = [line.split() for line in meeting.finish().splitlines() if line[:2] in ("0 ", "1 ")]
    assert {(rank, total) for rank, total, _ in lines} == {("0", "21"), ("1", "21")}
    assert {address for _, _, address in lines} <= LOOPBACK
