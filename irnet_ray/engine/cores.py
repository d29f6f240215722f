"""How a process of ours computes on a processor: said here, for all of them."""

from __future__ import annotations

import os

import torch


def use_cores(count: int) -> None:
    """Let torch compute on `count` cores, so that processes do not fight over them, and on huge pages.

    Fresh memory is faulted in page by page, and in small pages that takes longer than to compute what is written there:
    large tensors are the pixels of an image times channels, or pairs of its cells. To be called before the first of
    them. `THP_MEM_ALLOC_ENABLE=0` in the environment keeps small pages.
    """
    torch.set_num_threads(count)
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
