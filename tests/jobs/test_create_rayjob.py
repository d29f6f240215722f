"""What the nightly pod does, against a server on this machine that answers as Kubernetes' API server."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

JOBS = Path(__file__).resolve().parents[2] / "jobs"
PATH = "/apis/ray.io/v1/namespaces/vision/rayjobs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("create_rayjob", JOBS / "create_rayjob.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Server(ThreadingHTTPServer):
    """Takes one RayJob, then tells of it what `answers` holds, the last for ever: a status, or an HTTP code."""

    answers: list[Any]
    seen: list[tuple[str, str, str | None, Any]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def reply(self, code: int, content: Any) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def note(self, body: Any = None) -> None:
        self.server.seen.append((self.command, self.path, self.headers["Authorization"], body))

    def do_POST(self) -> None:  # noqa: N802
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.note(body)
        self.reply(201, {"metadata": {"name": body["metadata"]["generateName"] + "x7k2p"}})

    def do_GET(self) -> None:  # noqa: N802
        self.note()
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.reply(answer, {}) if isinstance(answer, int) else self.reply(200, {"status": answer})

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def outcome(script: ModuleType, tmp_path: Path) -> Iterator[Callable[..., tuple[int, Server]]]:
    (tmp_path / "token").write_text("t0ken")
    (tmp_path / "namespace").write_text("vision")
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def run(*answers: Any, entrypoint: str | None = None) -> tuple[int, Server]:
        server.answers, server.seen = list(answers), []
        address = f"http://127.0.0.1:{server.server_port}"
        return script.run(JOBS / "label.rayjob.yaml", address, entrypoint, tmp_path, poll=0.01), server

    yield run
    server.shutdown()
    server.server_close()


def test_it_waits_for_success(outcome: Callable[..., tuple[int, Server]], capsys: pytest.CaptureFixture[str]) -> None:
    running = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
    done = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED", "message": "Job finished successfully."}
    code, server = outcome({}, running, 503, running, done)
    assert code == 0
    (method, path, token, body), *looks = server.seen
    assert (method, path, token) == ("POST", PATH, "Bearer t0ken")
    assert body["kind"] == "RayJob" and body["metadata"] == {"generateName": "irnet-label-"}
    assert body["spec"]["entrypoint"].startswith("irnet-ray label ")
    assert looks == [("GET", f"{PATH}/irnet-label-x7k2p", "Bearer t0ken", None)] * 5
    assert capsys.readouterr().out.splitlines() == [
        "created irnet-label-x7k2p",
        "irnet-label-x7k2p: Running RUNNING ",
        "irnet-label-x7k2p: Complete SUCCEEDED Job finished successfully.",
    ]


def test_another_entrypoint_runs_on_the_same_cluster(outcome: Callable[..., tuple[int, Server]]) -> None:
    done = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
    _, first = outcome(done)
    manifest = first.seen[0][3]
    _, server = outcome(done, entrypoint="irnet-ray relabel /data/out")
    assert server.seen[0][3]["spec"] == {**manifest["spec"], "entrypoint": "irnet-ray relabel /data/out"}


@pytest.mark.parametrize(
    "end",
    [
        {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED"},
        {"jobDeploymentStatus": "Failed"},
        {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"},
        404,
    ],
)
def test_any_other_end_is_a_failure(outcome: Callable[..., tuple[int, Server]], end: Any) -> None:
    assert outcome({"jobDeploymentStatus": "Initializing"}, end)[0] == 1
