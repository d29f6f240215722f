"""One function over many items: in threads here, or over the cluster where a Ray session is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 64  # items of one thread at a time: small tasks cost more to hand out than to do
CHUNK_ON_RAY = 4096
MANY = 20_000  # images from which on workers of a cluster are worth their start


def each(function: Callable[[T], R], items: Sequence[T], many: int = MANY, chunk: int = CHUNK) -> list[R]:
    """The function's value of every item, in order; with `many` items or more, from Ray's workers if Ray runs.

    What the function raises is raised here. Ray's workers must see the files that it opens.
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
    # Not imported for a question that only a program which has imported it can answer with yes.
    ray: Any = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _on_ray(function: Callable[[T], R], items: Sequence[T], size: int, chunk: int) -> list[R]:
    import ray

    task: Any = ray.remote(_in_threads)
    try:
        parts: list[list[R]] = ray.get([task.remote(function, some, chunk) for some in _chunks(items, size)])
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None  # the function's own exception, without the worker's trace
    return list(chain.from_iterable(parts))
