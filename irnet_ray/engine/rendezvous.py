"""Where the workers of a training meet: only on loopback, if Ray itself listens on no other interface.

The key-value store of `torch.distributed` listens on every interface, whatever address it is given, and whoever reaches
it can steer a training. But it accepts a socket that is already bound.
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

_store: Any = None  # this process's TCPStore, if it is the worker where the others meet


def torch_config() -> TorchConfig:
    """How workers meet: on loopback if no other machine can join this driver's Ray, else in Ray's own way."""
    local = ipaddress.ip_address(ray.util.get_node_ip_address()).is_loopback
    return LoopbackConfig() if local else TorchConfig()


class LoopbackConfig(TorchConfig):
    """A process group of one machine that nobody outside it can reach."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """Ray Train asks it for the class that starts and ends the process group."""
        return _LoopbackBackend


class _LoopbackBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        backend = "nccl" if worker_group.get_resources_per_worker().get("GPU", 0) else "gloo"
        timeout = timedelta(seconds=backend_config.timeout_s)
        port = worker_group.execute_single(0, listen, timeout=timeout)
        worker_group.execute(_set_torch_distributed_env_vars)
        size = len(worker_group)
        # Positional arguments, because `execute_single_async` itself has a parameter named rank.
        ray.get(
            [worker_group.execute_single_async(rank, join, port, rank, size, backend, timeout) for rank in range(size)]
        )


def listen(timeout: timedelta) -> int:
    """Start the store on a free port of the loopback interface, and return the port."""
    global _store
    with socket.socket() as bound:
        bound.bind((LOOPBACK, 0))
        port: int = bound.getsockname()[1]
        _store = dist.TCPStore(  # type: ignore[attr-defined]  # torch exports it without a type
            LOOPBACK, port, is_master=True, wait_for_workers=False, timeout=timeout, master_listen_fd=bound.detach()
        )
    return port


def join(port: int, rank: int, world: int, backend: str, timeout: timedelta) -> None:
    """Add this process to the group."""
    interface = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
    # The workers' own traffic uses loopback, too.
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = interface
    store = _store
    if rank:
        store = dist.TCPStore(LOOPBACK, port, is_master=False, timeout=timeout)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=timeout)
