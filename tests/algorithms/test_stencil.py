"""The GPU's form of the transition walks like the CPU's."""

import os
import subprocess
import sys

import pytest

STENCIL = """
import torch
from irnet_ray.algorithms import walk
from irnet_ray.algorithms.stencil import Stencil
for size in [(1, 1), (1, 7), (9, 2), (11, 13)]:
    for dtype in (torch.float32, torch.float64):
        scores, boundary = torch.rand(3, *size, dtype=dtype), torch.rand(size, dtype=dtype) ** 3
        expected = walk.random_walk(scores, boundary, radius=5, beta=10, steps=9)
        kept, walk.transition_for = walk.transition_for, lambda device: Stencil
        torch.testing.assert_close(walk.random_walk(scores, boundary, radius=5, beta=10, steps=9), expected)
        walk.transition_for = kept
"""


def test_the_gpu_s_kernel_walks_like_the_cpu():
    # In a process of its own: Triton decides when it is loaded whether it compiles or interprets.
    pytest.importorskip("triton")
    subprocess.run([sys.executable, "-c", STENCIL], check=True, env=os.environ | {"TRITON_INTERPRET": "1"})
