"""The classification network: what learns, what does not, and attention as in Eq. 1."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.classifier import Classifier

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=BACKBONES)
def network(request: pytest.FixtureRequest) -> Classifier:
    torch.manual_seed(0)
    return Classifier(BACKBONES[request.param], 5)


def test_attention_is_the_classifier_on_every_feature(network: Classifier) -> None:
    image, ids = torch.rand(2, 3, 65, 97) * 255, torch.tensor([3, 0])
    network.eval()
    with torch.no_grad():
        features = network.backbone(image)[-1]
        attention = network.attention(features, ids)
        expected = torch.einsum("kc,bchw->bkhw", network.classifier.weight[ids].flatten(1), features).clamp(min=0)
    assert attention.shape == (2, 2, 5, 7) and not attention.requires_grad
    assert torch.allclose(attention, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    assert attention.dtype == torch.float32 and attention.max() > 0


def test_attention_is_not_rounded_where_features_are(network: Classifier) -> None:
    image, ids = torch.rand(1, 3, 64, 64) * 255, torch.arange(5)
    network.eval()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        attention = network.attention(network.backbone(image)[-1], ids)
    assert attention.dtype == torch.float32
    assert not torch.equal(attention, attention.bfloat16().float())


def test_logits_are_attention_before_its_relu_averaged(network: Classifier) -> None:
    image = torch.rand(2, 3, 64, 96) * 255
    network.eval()
    with torch.no_grad():
        features = network.backbone(image)[-1]
        maps = nn.functional.conv2d(features, network.classifier.weight)
        assert torch.allclose(network(image), maps.mean(dim=(2, 3)), rtol=1e-3, atol=1e-4 * float(maps.abs().max()))


def test_training_moves_weights_and_no_statistics(network: Classifier) -> None:
    network.train()
    assert network.training and network.backbone.training
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    learning = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=1e-3)
    network(torch.rand(2, 3, 64, 64) * 255).square().mean().backward()
    optimizer.step()
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert not {name for name in moved if "running" in name or "num_batches" in name}
    assert "classifier.weight" in moved
    assert any(name.startswith("backbone.") for name in moved)
    network.load_state_dict(before)


def test_levels_one_and_two_are_frozen(network: Classifier) -> None:
    low = [p for module in network.backbone.low_levels() for p in module.parameters()]
    assert low and not any(p.requires_grad for p in low)
    frozen = {id(p) for p in network.parameters() if not p.requires_grad}
    assert frozen == {id(p) for p in low}


def test_attention_over_an_image_and_its_mirror_image_is_symmetric(network: Classifier) -> None:
    """One alone is not: strided convolutions start at the left."""
    image, ids = torch.rand(1, 3, 64, 64) * 255, torch.arange(5)
    network.eval()

    @torch.no_grad()
    def both(x: torch.Tensor) -> torch.Tensor:
        one, mirrored = (network.attention(network.backbone(y)[-1], ids) for y in (x, x.flip(-1)))
        return one + mirrored.flip(-1)

    assert torch.allclose(both(image).flip(-1), both(image.flip(-1)), rtol=1e-4, atol=1e-3 * float(both(image).max()))
