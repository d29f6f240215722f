"""Applies a function to many items: in threads of this process, or on Ray's workers if Ray runs here already."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 64  # items per task of a thread; handing out smaller tasks costs more than doing them
CHUNK_ON_RAY = 4096
MANY = 20_000  # images from which on it pays to start workers on a cluster


def each(function: Callable[[T], R], items: Sequence[T], many: int = MANY, chunk: int = CHUNK) -> list[R]:
    """The function's results in the order of the items; from Ray's workers if there are `many` items and Ray runs.

    What the function raises is raised here. Ray's workers must be able to open the files that the function opens.
    """
    if len(items) >= many and _ray_runs():
        return _on_ray(function, items, min(CHUNK_ON_RAY, max(1, len(items) // 64)), chunk)
    return _in_threads(function, items, chunk)


def _in_threads(function: Callable[[T], R], items: Sequence[T], chunk: int) -> list[R]:
    if len(items) <= chunk:
        return [function(item) for item in items]
    with ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1))) as pool:
        done = pool.map(lambda some: [function(item) for item in some], _chunks(items, chunk))
        return list(chain.from_iterable(done))


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _ray_runs() -> bool:
    # Ray is not imported for this: it can run here only if somebody has imported it.
    ray: Any = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _on_ray(function: Callable[[T], R], items: Sequence[T], size: int, chunk: int) -> list[R]:
    import ray

    task: Any = ray.remote(_in_threads)
    try:
        parts: list[list[R]] = ray.get([task.remote(function, some, chunk) for some in _chunks(items, size)])
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # the function's own exception, without the traceback of the worker
    return list(chain.from_iterable(parts))
