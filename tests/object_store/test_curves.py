"""Curves in an object store, where nothing can be appended to a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from irnet_ray.engine.curves import CURVES, Reporter
from irnet_ray.runs.folder import Folder
from tests.engine.curves import read_curves
from tests.object_store.proxy import Proxy


def test_a_repeated_epoch_replaces_its_curves(out: Folder, tmp_path: Path) -> None:
    died, resumed = Reporter(out), Reporter(out)
    for reporter, epochs, value in ((died, (0, 1, 2), 1.0), (resumed, (1, 2), 2.0)):
        for epoch in epochs:
            reporter.begin(epoch, 3 * epoch)
            for iteration in range(3 * epoch, 3 * epoch + 3):
                reporter.add(iteration, {"total": value}, 0.1)
            reporter.end()
    for name in out.folder(CURVES).files():
        (tmp_path / name).write_bytes(out.folder(CURVES).read(name))
    assert read_curves(tmp_path)["loss/total"] == [(i, 1.0 if i < 3 else 2.0) for i in range(9)]
    assert out.read_json("progress.json")["losses"]["total"] in (1.0, 2.0)


def test_a_store_that_refuses_curves_ends_no_training(
    out: Folder, store: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    reporter = Reporter(out)
    store.fault = lambda request: "slow down" if CURVES in request.path or "progress" in request.path else None
    reporter.begin(0, 0)
    reporter.add(0, {"total": 1.0}, 0.1)
    assert reporter.means() == {"total": 1.0}
    reporter.end()
