"""Whether a device multiplies bfloat16 in hardware."""

from __future__ import annotations

import torch


def has_bfloat16(device: torch.device) -> bool:
    """True for GPUs and for CPUs with bfloat16 instructions.

    Elsewhere bfloat16 is emulated, and products are hundreds of times slower than in float32.
    """
    return device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
