"""The benchmarks' baseline gives the results of the package. Otherwise their ratios would be meaningless."""

import numpy as np
import pytest
import torch

from benchmarks import published
from irnet_ray.algorithms import affinity
from irnet_ray.networks.backbones import BACKBONES
from irnet_ray.networks.irnet import IRNet
from irnet_ray.scenes.generate import scene
from tests.algorithms import published as package


def inputs(height, width, maps=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(maps, height, width, generator=generator)
    boundary = torch.rand(height, width, generator=generator) ** 3
    coarse = torch.randn(1, 2, 3, 4, generator=generator) * 4
    return scores, boundary, torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]


@pytest.mark.parametrize("radius", [1, 2, 5, 10])
def test_pairs_and_lines_are_ours(radius):
    assert published.half_disc(radius) == affinity.offsets(radius)
    boundary = torch.rand(1, 12, 23, generator=torch.Generator().manual_seed(0))
    numbers = torch.arange(12 * 23).view(12, 23)
    for pair, ours in zip(affinity.offsets(radius), affinity.affinities(boundary, radius)[0], strict=True):
        source, _ = affinity.pair_slices(pair, 12, 23)
        plain = published.gathered_affinities(boundary, pair, numbers[source].flatten())
        torch.testing.assert_close(plain[0], ours[source].flatten(), rtol=0, atol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 4), (13, 17)])
def test_the_walk_is_ours(size):
    scores, boundary, _ = inputs(*size)
    plain = published.random_walk(scores, boundary)
    torch.testing.assert_close(package.random_walk(scores, boundary), plain, rtol=0, atol=1e-3 * float(plain.max()))


def test_steps_one_by_one_are_the_squared_matrix():
    scores, boundary, _ = inputs(8, 11)
    state, matrix = (scores * (1 - boundary)).flatten(1).T, published.transition_matrix(boundary)
    for _ in range(256):
        state = matrix @ state
    torch.testing.assert_close(state.T.view_as(scores), published.random_walk(scores, boundary), rtol=0, atol=1e-4)


@pytest.mark.parametrize("iterations", [0, 3, 300])
def test_centroids_and_groups_are_ours(iterations):
    _, _, field = inputs(21, 30)
    plain = torch.from_numpy(published.centroids(field.numpy(), iterations))
    assert (plain == package.centroids(field, iterations)).all(dim=0).float().mean() > 0.98
    plain = torch.from_numpy(published.instance_map(field.numpy(), iterations))
    assert (plain == package.instance_map(field, iterations)).float().mean() > 0.98


def test_the_loss_and_its_gradient_are_ours():
    generator = torch.Generator().manual_seed(0)
    class_map = torch.tensor([0, 1, 2, 255])[torch.randint(4, (2, 4, 4), generator=generator)]
    class_map = class_map.repeat_interleave(6, 1).repeat_interleave(7, 2).to(torch.uint8)
    gradients = []
    for loss in (published.relation_loss, lambda *given: package.relation_loss(*given).total):
        logits = torch.randn(2, 1, 24, 28, generator=torch.Generator().manual_seed(1)).requires_grad_()
        field = torch.randn(2, 2, 24, 28, generator=torch.Generator().manual_seed(2)).requires_grad_()
        total = loss(logits, field, class_map)
        total.backward()
        gradients.append((total.detach(), logits.grad, field.grad))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_the_confident_map_is_ours():
    made = scene(3, (48, 64))
    tags = made.tags
    truth = np.stack([np.any(made.masks[[name == tag for name in made.names]], axis=0) for tag in tags])
    cams = np.random.default_rng(0).uniform(0, 0.4, truth.shape) * truth
    plain = published.confident_map(made.image, cams.astype(np.float32), **published.THRESHOLDS)
    assert len(np.unique(plain)) > 1
    assert (plain == package.confident_map(made.image, cams.astype(np.float32))).mean() >= 0.999


def test_labels_are_ours():
    cams, boundary, field = inputs(16, 22, seed=1)
    ours = package.labels(cams, boundary, field, (61, 86), iterations=300).instances
    masks, tags, scores = published.labels(cams, boundary, field, (61, 86))
    assert len(masks) == len(ours.masks) > 1
    # Masks are disjoint, so their first pixels identify them.
    order, ours_order = (np.argsort(found.reshape(len(found), -1).argmax(1)) for found in (masks, ours.masks.numpy()))
    for one, other in zip(order, ours_order, strict=True):
        mask = ours.masks[int(other)].numpy()
        assert (mask & masks[one]).sum() / (mask | masks[one]).sum() > 0.9
        assert tags[one] == ours.class_index[int(other)]
        assert scores[one] == pytest.approx(float(ours.score[int(other)]), abs=1e-2)


def test_prediction_flip_by_flip_is_ours():
    pytest.importorskip("timm")
    torch.manual_seed(0)
    network = IRNet(BACKBONES["lite0"]).eval()
    image = torch.rand(1, 3, 48, 64) * 255
    with torch.no_grad():
        torch.testing.assert_close(published.predict(network, image), network.predict([image])[0], rtol=1e-3, atol=1e-4)
