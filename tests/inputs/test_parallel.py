"""The same answers from threads and from Ray's workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from irnet_ray.engine.session import session
from irnet_ray.errors import UserError
from irnet_ray.inputs import parallel
from irnet_ray.inputs.folder import read_folder
from tests.inputs.formats import write
from tests.inputs.test_webdataset import sample, tar


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    with session(None):
        yield


def test_order_and_errors() -> None:
    assert parallel.each(lambda n: n * n, range(1000)) == [n * n for n in range(1000)]
    with pytest.raises(ZeroDivisionError):
        parallel.each(lambda n: 1 // (n - 500), range(1000))
    assert parallel.each(lambda n: n, []) == []


def test_ray_gives_what_threads_give(ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "classes", *(f"{'dog' if n % 2 else 'cat'}/{n}.png" for n in range(20)))
    (tmp_path / "tars").mkdir()
    tars = [tar(tmp_path / "tars" / f"{number:02d}.tar", sample(number)) for number in range(17)]
    monkeypatch.setattr(parallel, "_ray_runs", lambda: False)
    here = [read_folder(tmp_path / name, 4) for name in ("classes", "tars")]
    handed, real = [], parallel._on_ray

    def on_ray(function, items, size, chunk):
        handed.append(len(items))
        return real(function, items, size, chunk)

    monkeypatch.undo()
    monkeypatch.setattr(parallel, "_on_ray", on_ray)
    monkeypatch.setattr(parallel.each, "__defaults__", (10, 4))
    assert [read_folder(tmp_path / name, 4) for name in ("classes", "tars")] == here
    assert handed == [20, 17]
    tars[3].write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"03.tar cannot be read as a tar.*; write it again.$"):
        read_folder(tmp_path / "tars", 4)
