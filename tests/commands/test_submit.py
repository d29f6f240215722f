"""Submitting a command to a real job server on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from irnet_ray.commands.submit import _result, submit
from irnet_ray.errors import UserError
from tests.engine.processes import Marked

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
VERBS = {"label": True, "config": False}


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@dataclass
class Head:
    """A Ray head for these tests, and `irnet-ray submit` to it."""

    address: str
    ray_address: str
    environment: dict[str, str] = field(repr=False)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        code = "import sys; from irnet_ray.cli import main; sys.argv[0] = 'irnet-ray'; main()"
        # A shell's background jobs ignore Ctrl-C, and these tests may be one.
        code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {code}"
        return subprocess.Popen(
            [sys.executable, "-c", code, "submit", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def submit(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=600)
        return process.returncode, out, err


# Ray counts the visible GPUs without checking that they exist.
START = "import os, sys; os.environ['CUDA_VISIBLE_DEVICES'] = '0'; os.execv(sys.argv[1], sys.argv[1:])"


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    port, dashboard, agent, agent_grpc, metrics = free_ports(5)
    # Not pytest's folder: it holds Ray's sockets, whose paths must be short.
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="head-") as folder:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            patch.delenv(name)
        patch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_DASHBOARD_STARTUP_TIMEOUT_S", "300")  # for a busy machine
        command = [
            *(BIN / "ray", "start", "--head", "--block", "--num-cpus=1", "--num-gpus=1"),
            *("--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
            *("--node-ip-address=127.0.0.1", f"--port={port}", f"--temp-dir={folder}"),
            *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}"),
            *(f"--metrics-export-port={metrics}", f"--object-store-memory={100 << 20}"),
        ]
        with Marked("-c", START, *command, log=tmp_path_factory.mktemp("head") / "log.txt") as marked:
            marked.wait_for(lambda: answers(dashboard))
            yield Head(f"http://127.0.0.1:{dashboard}", f"127.0.0.1:{port}", dict(os.environ))


def answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def test_a_job_s_log_is_shown_and_its_success_returned(head: Head) -> None:
    code, out, err = head.submit("config", "--address", head.address, "--backbone", "lite0")
    assert (code, err) == (0, ""), out + err
    assert "irnet-ray config --backbone lite0\n" in out.splitlines(keepends=True)[0]
    assert "displacement" in out and " succeeded" in out.splitlines()[-1]  # the job's own output


def test_a_failing_job_returns_its_output_and_exit_code(head: Head) -> None:
    code, out, err = head.submit("label", "--data", "/no where", "--shards=8", "--address", head.address)
    assert (code, err) == (2, ""), out + err
    assert "irnet-ray label --data '/no where' --shards=8 --address auto" in out.splitlines()[0]
    assert "irnet-ray: " in out and "/no where" in out
    assert out.splitlines()[-1].endswith(" failed: exit code 2")


def test_ctrl_c_leaves_the_job_running_and_a_stopped_job_is_a_failure(head: Head, tmp_path: Path) -> None:
    from ray.job_submission import JobSubmissionClient

    process = head.start("label", "--out", str(tmp_path / "out"), "--address", head.address)  # takes minutes
    assert process.stdout is not None
    job = process.stdout.readline().split()[1]
    client = JobSubmissionClient(head.address)
    _wait_until(lambda: client.get_job_status(job) == "RUNNING")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert err == (
        f"irnet-ray: {job} keeps running: follow it with `ray job logs --follow --address {head.address} {job}`, "
        f"stop it with `ray job stop --address {head.address} {job}`.\n"
    )
    assert client.get_job_status(job) == "RUNNING"
    client.stop_job(job)
    _wait_until(lambda: client.get_job_status(job) == "STOPPED")
    assert _result(client, job) == 1


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.5)
    raise TimeoutError


def test_gpus_are_asked_for_and_waited_for(head: Head) -> None:
    environment = head.environment | {"RAY_ADDRESS": head.ray_address}
    for wanted, said in (("1", "1 of 1 GPUs\n"), ("0", "no GPUs are asked for any more\n")):
        done = subprocess.run(
            [sys.executable, ROOT / "jobs" / "gpus.py", wanted], env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, said), done.stderr


@pytest.fixture
def no_address(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_an_unknown_command_is_refused(no_address: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="No command 'labell' can be submitted: choose one of label, config"):
        submit("labell", [], "http://127.0.0.1:1", VERBS)


def test_an_address_of_a_job_server_is_needed(no_address: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="No job server: name the head's with --address http://HEAD:8265"):
        submit("label", [], None, VERBS)
    for wrong in ("auto", "head:6379", "ray://head:10001", "http://", "http://head:port"):
        with pytest.raises(UserError, match=f"^{wrong} is not the address of a job server"):
            submit("label", [], wrong, VERBS)
    no_address.setenv("RAY_ADDRESS", "ray://cluster:10001")
    with pytest.raises(UserError, match="^ray://cluster:10001 is not the address of a job server"):
        submit("label", [], None, VERBS)
    no_address.setenv("RAY_API_SERVER_ADDRESS", "ftp://jobs")
    with pytest.raises(UserError, match="^ftp://jobs is not"):
        submit("label", [], None, VERBS)


def test_an_address_without_a_server_is_reported_at_once(no_address: pytest.MonkeyPatch) -> None:
    no_address.setenv("RAY_ADDRESS", "http://jobs.invalid:8265")  # the named address wins
    with socket.socket() as held:  # bound but not listening, so nothing answers
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(UserError, match=f"^No Ray job server answers at {address}: .*refused"):
            submit("config", [], address, VERBS)
