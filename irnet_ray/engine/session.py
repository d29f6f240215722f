"""Starting and stopping Ray: join a named cluster, else start a local Ray that ends with the command."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import secrets
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from irnet_ray.errors import UserError

# One process keeps a GPU busy for only a third of the time: networks and walk are hundreds of small kernels, launched
# one by one. Other processes fill the gaps.
ACTORS_PER_GPU = 4


@dataclass(frozen=True)
class Devices:
    """What the Ray cluster offers."""

    cpus: int
    gpus: int
    nodes: int

    def check(self, workers: int | None, *, only_training: bool = False) -> None:
        """Raise UserError if more workers are asked for than can ever start: Ray would wait for ever."""
        most, kind = self.most_actors, "processes that share its GPUs" if self.gpus else "CPU cores"
        if only_training and self.gpus:
            most, kind = self.gpus, "GPUs"
        if workers is not None and workers > most:
            raise UserError(f"--workers {workers} is more than the {most} {kind} here.")

    @property
    def most_actors(self) -> int:
        """How many actors can hold a network: a few per GPU, else one per core."""
        if not self.gpus:
            return self.cpus
        return self.gpus * max(1, min(ACTORS_PER_GPU, self.cpus // self.gpus))

    def network_workers(self, asked: int | None) -> int:
        """How many actors hold a network: as asked, else as many as possible."""
        return asked or self.most_actors

    def gpu_share(self, actors: int) -> float:
        """The share of a GPU that each of `actors` network actors claims, so that all get one; 0 without GPUs."""
        return 1 / math.ceil(actors / self.gpus) if self.gpus else 0.0

    def train_workers(self, asked: int | None) -> int:
        """How many training workers: with GPUs, as asked but at most one per GPU, by default one for each.

        Without GPUs, as asked, by default one, which uses all cores of its node.
        """
        return min(asked or self.gpus, self.gpus) if self.gpus else asked or 1

    def __str__(self) -> str:
        gpus = f"{self.gpus} GPU{'s' if self.gpus != 1 else ''}" if self.gpus else "no GPU"
        return f"{self.cpus} CPU cores, {gpus}, {self.nodes} node{'s' if self.nodes != 1 else ''}"


@contextmanager
def session(address: str | None) -> Iterator[Devices]:
    """Connect to the Ray cluster at `address` or `RAY_ADDRESS`. Without either, start a local Ray for the block.

    Raises:
        UserError: no Ray answers at the address.
    """
    # Ray's own progress bars and per-execution log would bury ours. Its errors stay visible.
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Without this, Ray retries a task that runs out of memory for ever.
    os.environ.setdefault("RAY_task_oom_retries", "1")
    import ray
    from ray.util.annotations import RayDeprecationWarning

    # Retries per operator are set by remote arguments, which Ray 2.64 removes; our pin on Ray ends before it.
    warnings.filterwarnings("ignore", category=RayDeprecationWarning)

    if ray.is_initialized():  # the caller's own session: use it, and do not stop it
        yield _devices()
        return
    address = address or os.environ.get("RAY_ADDRESS")
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        if address:
            _knock(address)
        else:
            _give_token()
            # Without a dashboard nobody reads metrics; they only take time from the stages.
            os.environ.setdefault("RAY_enable_metrics_collection", "0")
        with _no_native_log(), contextlib.nullcontext() if address else _loopback():
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.ERROR, **local)
    except Exception as error:  # Ray raises a bare Exception if its node is slow to start
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"No Ray cluster can be used at {address or 'this machine'}: {said[0]}") from error
    _quiet()
    try:
        yield _devices()
    finally:
        ray.shutdown()


def _give_token() -> None:
    """Give a local Ray a token for the lifetime of this process, if the user has none.

    Otherwise Ray writes one into the home folder, which is not ours to write to and may be read-only.
    """
    given = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if not given and not os.path.exists(os.path.expanduser("~/.ray/auth_token")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextmanager
def _loopback() -> Iterator[None]:
    """Let a Ray that starts within the block listen only on the loopback interface.

    By default it listens on all interfaces, so that nodes can join, and whoever reaches it may run code. Ray's switch
    against that is meant for macOS and Windows. It is set here so that the processes that Ray starts inherit it.
    """
    from ray._private import ray_constants

    name, cluster = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", ray_constants.ENABLE_RAY_CLUSTER
    before = os.environ.get(name)
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = cluster
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _knock(address: str) -> None:
    """Raise OSError if nothing listens at a `host:port`: Ray would keep trying for many minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def raised(name: str, error: BaseException) -> Exception:
    """What to raise for a worker's error: its own UserError, or a RuntimeError of one sentence."""
    cause = getattr(error, "cause", None)
    return UserError(str(cause)) if isinstance(cause, UserError) else RuntimeError(f"{name}: stopped: {reason(error)}")


def reason(error: BaseException) -> str:
    """What went wrong in a worker, in one line. Ray's messages end with the worker's own exception."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _no_native_log() -> Iterator[None]:
    """Hide what native code writes to standard error. Exceptions still say what went wrong.

    Ray's core prints there that it was told to be quiet.
    """
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _devices() -> Devices:
    import ray

    resources = ray.cluster_resources()
    nodes = sum(1 for node in ray.nodes() if node["Alive"])
    return Devices(max(1, int(resources.get("CPU", 1))), int(resources.get("GPU", 0)), nodes)


def _quiet() -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)
