"""Whether a device multiplies bfloat16 in hardware."""

from __future__ import annotations

import pytest
import torch

from irnet_ray.algorithms.precision import has_bfloat16


def test_a_gpu_has_it() -> None:
    assert has_bfloat16(torch.device("cuda"))


@pytest.mark.parametrize("supported", [True, False])
def test_a_processor_has_it_with_its_instructions(supported: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    assert has_bfloat16(torch.device("cpu")) is supported
