"""A local folder of a run directory. Folders in an object store are tested in tests/object_store/test_commits.py."""

from __future__ import annotations

import errno
import itertools
import os
import pickle
import stat
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder


def test_a_folder_means_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Folder("run").folder("stages", "seeds-0")
    assert folder.location == f"{tmp_path}/run/stages/seeds-0"
    assert (folder.name, folder.parent.name, folder.is_local) == ("seeds-0", "stages", True)
    assert pickle.loads(pickle.dumps(folder)) == folder
    assert Folder(f"file://{tmp_path}/a%20b").local_path == f"{tmp_path}/a b"


def test_files_json_and_tables_come_back(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "deep" / "er"))
    assert (folder.files(), folder.exists("x"), folder.read_json("x"), folder.count_rows()) == ([], False, None, 0)
    folder.write("file", b"1")
    folder.write("file", b"22")
    folder.write_json("state.json", {"a": [1, None]})
    table = pa.table({"image_id": [f"{n:03d}" for n in range(200)], "n": list(range(200))})
    folder.write_table("t.parquet", table)
    assert folder.read("file") == b"22" and folder.read_json("state.json") == {"a": [1, None]}
    assert folder.read_table("t.parquet") == table
    assert folder.read_table("t.parquet", columns=["n"], ids=["150", "007"]).to_pydict() == {"n": [7, 150]}
    assert [row["n"] for row in folder.stream_rows("t.parquet", ["n"])] == list(range(200))
    assert folder.count_rows() == 200
    assert folder.files() == ["file", "state.json", "t.parquet"] and folder.parent.folders() == ["er"]
    folder.remove("file")
    folder.remove("file")
    assert not folder.exists("file")
    folder.delete()
    folder.delete()
    assert folder.files() == []


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.write("state.json", b"{")
    folder.write("t.parquet", b"no table")
    for name, read in (("state.json", folder.read_json), ("t.parquet", folder.read_table)):
        with pytest.raises(UserError, match=rf"{name} is damaged \(.*\): delete it and run the same command again"):
            read(name)


def directories_refuse_fsync(number: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Files can be synced, directories fail with this errno."""
    real, refused = os.fsync, []

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            refused.append(descriptor)
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return refused


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_directories_can_be_used(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(str(tmp_path))
    refused = directories_refuse_fsync(number, monkeypatch)
    folder.write("file", b"1")
    assert refused and folder.read("file") == b"1" and os.listdir(tmp_path) == ["file"]


def test_a_directory_that_cannot_be_opened_can_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refusing(path: str, flags: int, *more: int, **options: int) -> int:
        if os.path.isdir(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *more, **options)

    monkeypatch.setattr(os, "open", refusing)
    Folder(str(tmp_path)).write("file", b"1")
    assert (tmp_path / "file").read_bytes() == b"1"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_rename_that_may_be_lost_is_no_commit(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directories_refuse_fsync(number, monkeypatch)
    with pytest.raises(UserError, match="^Cannot write to .*what is done stays done"):
        Folder(str(tmp_path)).write("file", b"1")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    versions = [bytes([number]) * 2_000_000 for number in range(4)]
    folder.write("file", versions[0])
    stop = threading.Event()

    def write() -> None:
        for version in itertools.cycle(versions):
            folder.write("file", version)
            if stop.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(50):
            assert folder.read("file") in versions
    finally:
        stop.set()
        writer.join()


def test_a_failed_write_leaves_the_old_content_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Folder(str(tmp_path))
    folder.write("file", b"old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as broken:
            broken.setattr(os, step, full)
            with pytest.raises(UserError, match=f"^Cannot write to {tmp_path}: no space is left; make room there"):
                folder.write("file", b"new")
        assert contents(tmp_path) == {"file": b"old"}


def test_what_a_killed_writer_leaves_is_no_file(tmp_path: Path) -> None:
    (tmp_path / ".0123.tmp").write_bytes(b"half")
    folder = Folder(str(tmp_path))
    assert folder.files() == []
    assert folder.count_rows() == 0
