"""What map stages run: folded, frozen, and the same answers."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from irnet_ray.networks.classifier import Classifier
from irnet_ray.networks.inference import for_inference, precision, to_network

torch.set_num_threads(1)
CPU = torch.device("cpu")


def test_for_inference_freezes_folds_and_answers_the_same() -> None:
    torch.manual_seed(0)
    network = Classifier("lite0", 3).train()
    image = torch.rand(1, 3, 65, 97) * 255
    with torch.no_grad():
        before = network.eval()(image)
    ready = for_inference(network.train(), CPU)
    assert not any(p.requires_grad for p in ready.parameters()) and not ready.training
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ready.modules())
    assert torch.allclose(ready(image.contiguous(memory_format=torch.channels_last)), before, rtol=1e-3, atol=1e-5)


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
