"""Where the workers of a training find each other: on loopback only, where Ray itself listens on no other interface.

The store of keys and values that `torch.distributed` starts with listens on every interface, whatever address it is
given, and whoever reaches it can steer a training. But it takes a socket that is bound already.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from datetime import timedelta
from typing import Any

import ray
import torch.distributed as dist
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _TorchBackend

LOOPBACK = "127.0.0.1"

_store: Any = None  # a TCPStore, of this process, where it is the worker that the others meet at


def torch_config() -> TorchConfig:
    """How the workers of this driver's Ray meet: Ray's own way, but where no other machine can join, on loopback."""
    alone = ipaddress.ip_address(ray.util.get_node_ip_address()).is_loopback
    return LoopbackConfig() if alone else TorchConfig()


class LoopbackConfig(TorchConfig):
    """A process group of one machine that nobody outside it can reach."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """Called by Ray Train for what starts and ends the process group."""
        return _LoopbackBackend


class _LoopbackBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        backend = "nccl" if worker_group.get_resources_per_worker().get("GPU", 0) else "gloo"
        timeout = timedelta(seconds=backend_config.timeout_s)
        port = worker_group.execute_single(0, listen, timeout=timeout)
        worker_group.execute(_set_torch_distributed_env_vars)
        size = len(worker_group)
        # By position: `execute_single_async` has a parameter of its own named rank.
        ray.get(
            [worker_group.execute_single_async(rank, join, port, rank, size, backend, timeout) for rank in range(size)]
        )


def listen(timeout: timedelta) -> int:
    """Start the store on a free port of the loopback interface; returns the port."""
    global _store
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        port: int = bound.getsockname()[1]
        _store = dist.TCPStore(  # type: ignore[attr-defined]  # torch has it, and does not say so
            LOOPBACK, port, is_master=True, wait_for_workers=False, timeout=timeout, master_listen_fd=bound.detach()
        )
    return port


def join(port: int, rank: int, world: int, backend: str, timeout: timedelta) -> None:
    """Make this process one of the group."""
    interface = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    # What the workers then send each other goes the same way.
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = interface
    store = _store
    if rank:
        store = dist.TCPStore(LOOPBACK, port, is_master=False, timeout=timeout)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
