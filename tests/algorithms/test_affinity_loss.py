import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irnet_ray.algorithms.affinity import embedding_affinities, offsets
from tests.algorithms.published import affinity_loss


def plain_loss(embedding: Tensor, class_map: Tensor, radius: int) -> dict[str, Tensor]:
    """The loss as AffinityNet's paper writes it: a double loop over pixels, every pair by itself."""
    terms: dict[str, list[Tensor]] = {"background": [], "foreground": [], "negative": []}
    batch, _, height, width = embedding.shape
    for image in range(batch):
        for y, x in ((y, x) for y in range(height - radius + 1) for x in range(radius - 1, width - radius + 1)):
            for dy, dx in offsets(radius):
                here, there = class_map[image, y, x].item(), class_map[image, y + dy, x + dx].item()
                if 255 in (here, there):
                    continue
                distance = (embedding[image, :, y, x] - embedding[image, :, y + dy, x + dx]).abs().mean()
                affinity = torch.exp(-distance)
                if here != there:
                    terms["negative"].append(-torch.log(1 - affinity + 1e-5))
                else:
                    terms["foreground" if here else "background"].append(-torch.log(affinity + 1e-5))
    means = {name: torch.stack(pairs).mean() if pairs else embedding.new_zeros(()) for name, pairs in terms.items()}
    return {**means, "total": means["background"] / 4 + means["foreground"] / 4 + means["negative"] / 2}


def batch(seed: int, height: int, width: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Two images of noise, in blocks of the classes 0, 1, 254 and unsure."""
    generator = torch.Generator().manual_seed(seed)
    embedding = 2 * torch.randn(2, 3, height, width, generator=generator, dtype=dtype)
    blocks = torch.randint(0, 4, (2, height // 2 + 1, width // 2 + 1), generator=generator)
    classes = torch.tensor([0, 1, 254, 255], dtype=torch.uint8)[blocks]
    classes = classes.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, :height, :width]
    return embedding.requires_grad_(), classes


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(0, 3), st.integers(0, 3))
def test_values_and_gradient_are_those_of_a_loop_over_pairs(seed, radius, extra_rows, extra_columns):
    embedding, class_map = batch(seed, radius + extra_rows, 2 * radius - 1 + extra_columns)
    ours = affinity_loss(embedding, class_map, radius)
    plain = plain_loss(embedding, class_map, radius)
    for name, value in ours._asdict().items():
        torch.testing.assert_close(value, plain[name])
    if plain["total"].requires_grad:
        expected = torch.autograd.grad(plain["total"], embedding)
        torch.testing.assert_close(torch.autograd.grad(3 * ours.total, embedding)[0], 3 * expected[0])


def test_gradients_are_those_of_finite_differences():
    embedding, class_map = batch(0, 6, 7)
    assert torch.autograd.gradcheck(lambda f: affinity_loss(f, class_map, radius=3).total, (embedding,))


def test_two_flat_regions_cost_what_their_distance_says():
    # Two classes side by side, each of one embedding; they differ by 2 in one of four channels, 0.5 in the mean.
    class_map = torch.zeros(1, 8, 12, dtype=torch.uint8)
    class_map[..., 6:] = 1
    embedding = torch.zeros(1, 4, 8, 12)
    embedding[:, 2, :, 6:] = 2
    loss = affinity_loss(embedding, class_map, radius=3)
    negative = -math.log(1 - math.exp(-0.5) + 1e-5)
    assert loss.negative.item() == pytest.approx(negative, rel=1e-5)
    assert [loss.background.item(), loss.foreground.item()] == pytest.approx([0, 0], abs=2e-5)
    assert loss.total.item() == pytest.approx(negative / 2, rel=1e-4)


def test_only_the_total_has_a_gradient():
    loss = affinity_loss(*batch(1, 8, 9), radius=3)
    assert [name for name, value in loss._asdict().items() if value.requires_grad] == ["total"]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 40), (40, 5), (4, 40), (40, 8)])
def test_images_smaller_than_the_radius_have_no_pairs(height, width):
    embedding, class_map = batch(3, height, width)
    loss = affinity_loss(embedding, class_map, radius=5)
    loss.total.backward()
    assert all(value == 0 for value in loss) and (embedding.grad == 0).all()


@pytest.mark.parametrize("label", [0, 1, 255])
def test_a_kind_without_pairs_is_zero(label):
    embedding, class_map = batch(4, 9, 12)
    loss = affinity_loss(embedding, torch.full_like(class_map, label), radius=4)
    loss.total.backward()
    assert ((loss.background > 0).item(), (loss.foreground > 0).item()) == (label == 0, label == 1)
    assert loss.negative == 0 and embedding.grad.isfinite().all()


def test_pairs_of_one_point_that_should_differ_cost_much_and_stay_finite():
    class_map = batch(5, 9, 12)[1]
    embedding = torch.zeros(2, 3, 9, 12, requires_grad=True)
    loss = affinity_loss(embedding, class_map, radius=4)
    loss.total.backward()
    assert loss.negative.item() == pytest.approx(-math.log(1e-5), rel=1e-4)
    assert (embedding.grad == 0).all()


def test_memory_formats_and_half_precision_change_nothing():
    embedding, class_map = batch(6, 14, 15, torch.float32)
    expected = affinity_loss(embedding, class_map, 4)
    last = affinity_loss(embedding.contiguous(memory_format=torch.channels_last), class_map, 4)
    torch.testing.assert_close(tuple(last), tuple(expected))
    low = affinity_loss(embedding.bfloat16(), class_map, 4)
    exact = affinity_loss(embedding.bfloat16().float(), class_map, 4)
    assert low.total.dtype == torch.float32
    torch.testing.assert_close(tuple(low), tuple(exact))


def test_the_affinities_trained_are_those_that_are_walked_on():
    embedding, _ = batch(7, 9, 12)
    walked = embedding_affinities(embedding[0].detach(), 3)[:, :7, 2:10]
    loss = affinity_loss(embedding[:1], torch.ones(1, 9, 12, dtype=torch.uint8), radius=3)
    torch.testing.assert_close(loss.foreground, -(walked + 1e-5).log().mean())


def test_wrong_inputs_are_refused():
    embedding, class_map = batch(8, 9, 12)
    with pytest.raises(ValueError, match=r"got \(2, 3, 9, 12\) and \(2, 1, 9, 12\)"):
        affinity_loss(embedding, class_map[:, None])
    with pytest.raises(ValueError, match=r"got \(3, 9, 12\) and \(2, 9, 12\)"):
        affinity_loss(embedding[0], class_map)
    with pytest.raises(ValueError, match="class_map must be uint8 .* got torch.int64"):
        affinity_loss(embedding, class_map.long())


@pytest.mark.gpu
def test_the_gpu_gives_the_same_loss_and_gradient():
    embedding, class_map = batch(9, 20, 25, torch.float32)
    on_gpu, on_cpu = affinity_loss(embedding.cuda(), class_map.cuda()), affinity_loss(embedding, class_map)
    torch.testing.assert_close(tuple(loss.cpu() for loss in on_gpu), tuple(on_cpu))
    torch.testing.assert_close(
        torch.autograd.grad(on_gpu.total, embedding), torch.autograd.grad(on_cpu.total, embedding)
    )
