"""Networks of map stages: folded, frozen, with the same answers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from irnet_ray.networks import inference
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.inference import for_inference, precision, rescale, to_network

torch.set_num_threads(1)
CPU = torch.device("cpu")


def test_for_inference_freezes_folds_and_answers_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "has_bfloat16", lambda device: False)
    torch.manual_seed(0)
    network = Classifier(BACKBONES["lite0"], 3).train()
    image = torch.rand(1, 3, 65, 97) * 255
    with torch.no_grad():
        before = network.eval()(image)
    ready = for_inference(network.train(), CPU)
    assert not any(p.requires_grad for p in ready.parameters()) and not ready.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ready.modules())
    assert torch.allclose(ready(image.contiguous(memory_format=torch.channels_last)), before, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_rounding_the_weights_once_equals_rounding_them_in_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, image = Classifier(BACKBONES["lite0"], 3), torch.rand(1, 3, 64, 96) * 255
    levels = []
    for has in (False, True):
        monkeypatch.setattr(inference, "has_bfloat16", lambda device, has=has: has)
        ready = for_inference(copy.deepcopy(network), CPU)
        dtypes = {each.weight.dtype for each in ready.backbone.modules() if isinstance(each, nn.Conv2d)}
        assert dtypes == {torch.bfloat16 if has else torch.float32}
        with torch.autocast("cpu", torch.bfloat16):
            levels.append(ready.backbone(image))
    assert all(torch.equal(one, other) for one, other in zip(*levels, strict=True))


def test_networks_see_images_in_whole_cells_of_the_coarsest_level() -> None:
    image = torch.rand(1, 3, 66, 102) * 255
    sizes = {scale: tuple(rescale(image, scale).shape[2:]) for scale in (0.01, 0.5, 1, 2)}
    assert sizes == {0.01: (16, 16), 0.5: (32, 48), 1: (64, 96), 2: (128, 208)}
    whole = torch.rand(1, 3, 32, 48) * 255
    assert torch.equal(rescale(whole, 1), whole) and float(rescale(whole, 2).min()) >= 0


def test_images_become_float_batches_of_one() -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    x = to_network(image, CPU)
    assert (tuple(x.shape), x.dtype) == ((1, 3, 5, 7), torch.float32)
    assert np.array_equal(x[0].permute(1, 2, 0).numpy(), image)


def test_half_precision_only_where_the_processor_has_it() -> None:
    with precision(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    fast = torch.cpu._is_avx512_bf16_supported()
    assert product.dtype == (torch.bfloat16 if fast else torch.float32)
