"""One S3 server on loopback for all tests here, behind a proxy that may fail, and one Ray that knows only them."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from irnet_ray.engine.session import Devices, session
from irnet_ray.runs.folder import Folder
from tests.object_store.proxy import Proxy, proxy

PATIENCE = 600.0  # seconds, for a machine that is busy with other things


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real server process that speaks S3."""
    pytest.importorskip("moto.server", reason='an S3 server is needed: pip install ".[dev]"')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process:
        try:
            _wait_for(port, process, log)
            yield port
        finally:
            process.kill()


@pytest.fixture(scope="session")
def store(server: int) -> Iterator[Proxy]:
    """The proxy before the server, which the environment of this process and its children names as S3."""
    with proxy(server) as running, pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            environment.delenv(name)
        environment.setenv("AWS_ENDPOINT_URL", running.url)
        environment.setenv("AWS_ACCESS_KEY_ID", "testing")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        environment.setenv("AWS_EC2_METADATA_DISABLED", "true")
        environment.setenv("AWS_CONFIG_FILE", os.devnull)
        environment.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
        yield running


@pytest.fixture
def bucket(store: Proxy, server: int) -> Iterator[str]:
    """The name of a bucket with nothing in it, and a proxy that lets everything pass and has logged nothing."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    connection = http.client.HTTPConnection("127.0.0.1", server, timeout=PATIENCE)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()
    store.log.clear()
    yield name
    store.fault = lambda _: None


@pytest.fixture
def out(bucket: str) -> Folder:
    """A run directory in the bucket."""
    return Folder(f"s3://{bucket}/team/run")


@pytest.fixture(scope="package")
def devices(store: Proxy) -> Iterator[Devices]:
    """A Ray whose processes inherit the environment of `store`."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("RAY_ADDRESS", raising=False)
        environment.setenv("CUDA_VISIBLE_DEVICES", "")
        assert not ray.is_initialized(), "the processes of a Ray that is there already do not know the store"
        with session(None) as found:
            yield found


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
