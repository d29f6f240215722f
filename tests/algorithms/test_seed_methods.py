"""Each seed method on a hand-made image: two halves of different features, and a CAM that sees a part of one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from irnet_ray.algorithms.prototypes import Prototypes
from irnet_ray.algorithms.seed_methods import METHODS

SIDE = 8


def halves() -> torch.Tensor:
    """Features float32 (2, SIDE, SIDE): (1, 0) on the left, (0, 1) on the right."""
    features = torch.zeros(2, SIDE, SIDE)
    features[0, :, : SIDE // 2] = 1
    features[1, :, SIDE // 2 :] = 1
    return features


def corner() -> torch.Tensor:
    """A CAM float32 (1, SIDE, SIDE) of a corner on the left."""
    cam = torch.zeros(1, SIDE, SIDE)
    cam[0, :2, :2] = 1
    return cam


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.attention])
def test_attention_spreads_over_like_features_and_no_further(name: str) -> None:
    method = METHODS[name]
    known = Prototypes(torch.eye(2), torch.tensor([1.0, 0.0])) if method.prototypes else None
    assert method.attention is not None
    found = method.attention(corner(), [halves()] * 3, [known])
    assert found.shape == (1, SIDE, SIDE) and found.dtype == torch.float32
    assert (found[0, :, : SIDE // 2] > 0.9).all() and (found[0, :, SIDE // 2 :] < 0.1).all()


def test_a_tag_without_prototypes_keeps_its_cam() -> None:
    prototypes, correlation = METHODS["prototypes"].attention, METHODS["correlation"].attention
    assert prototypes is not None and correlation is not None
    levels = [torch.rand(4, SIDE, SIDE, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    torch.testing.assert_close(prototypes(corner(), levels, [None]), correlation(corner(), levels, [None]))


def test_prototypes_take_the_place_of_the_cam() -> None:
    """The object is on the right, where the CAM saw nothing."""
    method = METHODS["prototypes"].attention
    assert method is not None
    right = Prototypes(torch.eye(2), torch.tensor([0.0, 1.0]))
    found = method(corner(), [halves()] * 3, [right])
    assert (found[0, :, SIDE // 2 :] > 0.9).all() and (found[0, :, : SIDE // 2] < 0.1).all()


def test_the_published_method_is_the_cam_alone() -> None:
    assert METHODS["cam"].attention is None and not METHODS["cam"].prototypes and not METHODS["cam"].one_scale


def test_the_names_are_known_without_torch() -> None:
    code = "import sys; import irnet_ray.algorithms.seed_methods; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
