"""A proxy before an S3 server on loopback: it keeps a log of requests, and answers some in the server's place."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

# Refuse, as a store that is overloaded; hang up without an answer; hang up after the store has done it; say nothing.
Fault = Literal["slow down", "drop", "drop the answer", "stall"]

SLOW_DOWN = (
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)
_OWN_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}


@dataclass(frozen=True)
class Request:
    """What a client asked for; `path` holds the query too."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass
class Proxy:
    """A running proxy; set `fault` to have requests fail."""

    port: int
    log: list[Request] = field(default_factory=list)  # all that came, in order
    faults: int = 0
    fault: Callable[[Request], Fault | None] = lambda _: None
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """The endpoint for clients."""
        return f"http://127.0.0.1:{self.port}"

    def asked(self, method: str, part: str = "") -> list[str]:
        """Paths of logged requests of a method that contain `part`."""
        return [request.path for request in list(self.log) if request.method == method and part in request.path]


@contextmanager
def proxy(upstream: int) -> Iterator[Proxy]:
    """A proxy before the server on a port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def handle_any(self) -> None:
            body = self._body()
            request = Request(self.command, self.path)
            running.log.append(request)
            fault = running.fault(request)
            if fault is not None:
                running.faults += 1
            if fault == "stall":
                running.ended.wait(120)
            if fault in ("stall", "drop"):
                self._hang_up()
            elif fault == "slow down":
                self._answer(503, [("Content-Type", "application/xml")], SLOW_DOWN)
            else:
                answer = self._forward(body)
                if fault == "drop the answer":
                    self._hang_up()
                else:
                    self._answer(*answer)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

        def _body(self) -> bytes:
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            chunks = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(chunks)

        def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _OWN_CONNECTION}
            headers.pop("Expect", None)
            headers["Content-Length"] = str(len(body))
            connection = http.client.HTTPConnection("127.0.0.1", upstream, timeout=120)
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                connection.close()

        def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in _OWN_CONNECTION and (name.lower() != "content-length" or self.command == "HEAD"):
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _hang_up(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:  # clients that hang up
            pass

    with Server(("127.0.0.1", 0), Handler) as server:
        running = Proxy(server.server_port)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()
        try:
            yield running
        finally:
            running.ended.set()
            server.shutdown()
            serving.join()
