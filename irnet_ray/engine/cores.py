"""How each of our processes computes on a CPU."""

from __future__ import annotations

import os

import torch


def use_cores(count: int) -> None:
    """Let torch compute on `count` cores, so that processes do not compete for them, and in huge pages.

    The kernel maps fresh memory page by page. With small pages that takes longer than computing what is written there:
    large tensors are the pixels of an image times channels, or pairs of its cells. Call it before the first of them.
    `THP_MEM_ALLOC_ENABLE=0` in the environment keeps small pages.
    """
    torch.set_num_threads(count)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
