"""How a process computes on a processor."""

from __future__ import annotations

import os

import pytest
import torch

from irnet_ray.engine.cores import use_cores


@pytest.mark.parametrize(("given", "kept"), [(None, "1"), ("0", "0")])
def test_threads_and_huge_pages_are_set_unless_the_user_set_them(
    monkeypatch: pytest.MonkeyPatch, given: str | None, kept: str
) -> None:
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "")  # so that it is put back
    if given is None:
        monkeypatch.delenv("THP_MEM_ALLOC_ENABLE")
    else:
        monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", given)
    before = torch.get_num_threads()
    try:
        use_cores(1)
        assert torch.get_num_threads() == 1 and os.environ["THP_MEM_ALLOC_ENABLE"] == kept
    finally:
        torch.set_num_threads(before)
