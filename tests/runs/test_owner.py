"""The process that owns a run directory: which one it is, and whether it is alive."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from irnet_ray.runs.owner import RunOwner


def test_this_process_is_here_and_running() -> None:
    own = RunOwner.this()
    assert own.pid == os.getpid() and own.is_here and own.is_running
    assert own.token != RunOwner.this().token  # each lock has its own


def test_an_owner_is_written_and_read_back() -> None:
    own = replace(RunOwner.this(), command="irnet-ray label --out 'a b'\n\u20ac")
    assert RunOwner.of(own.to_bytes()) == own


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b'{"pid": "x"}', b"\xff\xfe"])
def test_a_damaged_file_names_nobody(data: bytes) -> None:
    assert RunOwner.of(data) is None


def test_an_owner_prints_on_one_short_line() -> None:
    own = replace(RunOwner.this(), host="here", pid=7, since="then", command="irnet-ray label " + "x" * 1000)
    assert str(own).startswith("host here, pid 7, since then, `irnet-ray label xx") and len(str(own)) < 400


def test_a_process_on_another_machine_cannot_be_looked_up() -> None:
    assert not replace(RunOwner.this(), machine="another boot").is_here


def test_a_later_process_of_the_same_pid_is_another() -> None:
    assert not replace(RunOwner.this(), started="1").is_running
    assert replace(RunOwner.this(), started="").is_running  # unknown: it counts as the same process


def test_a_dead_process_is_not_running_even_before_its_parent_has_noticed() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = replace(RunOwner.this(), pid=process.pid, started="")
    assert other.is_running
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead but not collected: a zombie
    assert not other.is_running
    process.wait()
    assert not other.is_running
    assert process.stdin is not None
    process.stdin.close()
