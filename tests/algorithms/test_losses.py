import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from irnet_ray.algorithms.affinity import affinities, offsets
from irnet_ray.algorithms.losses import RelationLoss
from tests.algorithms.published import relation_loss

PUBLISHED = RelationLoss("aff_bg_pos", "aff_fg_pos", "aff_neg", "dp_fg", "dp_bg", "total")


@pytest.mark.parametrize("size", ["24x32", "33x47", "48x64"])
def test_the_losses_are_the_published_ones(reference, size):
    expected = reference(f"loss_{size}")
    names = "boundary_logits", "displacement", "pseudo_class_map"
    ours = relation_loss(*(torch.from_numpy(expected[name]) for name in names))
    for value, name in zip(ours, PUBLISHED, strict=True):
        assert value.item() == pytest.approx(expected[name], rel=1e-4)


def plain_loss(
    logits: Tensor, field: Tensor, class_map: Tensor, radius: int, pairs: list[tuple[int, int]]
) -> RelationLoss:
    """Eq. 5 to 9 as they are written: every pair's affinity and displacement in a tensor of its own."""
    height, width = class_map.shape[1:]
    rows, columns = slice(0, height - radius + 1), slice(radius - 1, width - radius + 1)
    affinity = affinities(logits[:, 0].sigmoid(), radius)[..., rows, columns]
    affinity = affinity[:, [offsets(radius).index(offset) for offset in pairs]]

    def targets(image: Tensor) -> Tensor:
        """(B, ..., H, W) at the other end of each pair: (B, P, ..., h, w)."""
        shifted = [image[..., dy : rows.stop + dy, columns.start + dx : columns.stop + dx] for dy, dx in pairs]
        return torch.stack(shifted, dim=1)

    here, there = class_map[:, None, rows, columns], targets(class_map)
    sure = (here != 255) & (there != 255)
    background, foreground = sure & (here == 0) & (there == 0), sure & (here == there) & (here > 0)
    delta = field[:, None, :, rows, columns] - targets(field)
    delta_hat = torch.tensor(pairs, dtype=field.dtype)[:, :, None, None]

    def mean(values: Tensor, kind: Tensor) -> Tensor:
        return (values * kind).sum() / kind.sum().clamp(min=1)

    boundary_background = mean(-(affinity + 1e-5).log(), background)
    boundary_foreground = mean(-(affinity + 1e-5).log(), foreground)
    boundary_negative = mean(-(1 + 1e-5 - affinity).log(), sure & (here != there))
    displacement_foreground = mean((delta - delta_hat).abs().mean(dim=2), foreground)
    displacement_background = mean(delta.abs().mean(dim=2), background)
    total = (boundary_background + boundary_foreground) / 4 + boundary_negative / 2
    total = total + (displacement_foreground + displacement_background) / 2
    return RelationLoss(
        boundary_background,
        boundary_foreground,
        boundary_negative,
        displacement_foreground,
        displacement_background,
        total,
    )


def batch(seed: int, height: int, width: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Two images of noise, in blocks of the classes 0, 1, 2, 254 and unsure."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(2, 1, height, width, generator=generator, dtype=dtype)
    field = 3 * torch.randn(2, 2, height, width, generator=generator, dtype=dtype)
    blocks = torch.randint(0, 5, (2, height // 3 + 1, width // 3 + 1), generator=generator)
    classes = torch.tensor([0, 1, 2, 254, 255], dtype=torch.uint8)[blocks]
    classes = classes.repeat_interleave(3, 1).repeat_interleave(3, 2)[:, :height, :width]
    return logits.requires_grad_(), field.requires_grad_(), classes


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(0, 6), st.integers(0, 6))
def test_values_and_gradients_are_those_of_the_plain_form(seed, radius, extra_rows, extra_columns):
    logits, field, class_map = batch(seed, radius + extra_rows, 2 * radius - 1 + extra_columns)
    ours = relation_loss(logits, field, class_map, radius)
    plain = plain_loss(logits, field, class_map, radius, offsets(radius))
    for our_value, plain_value in zip(ours, plain, strict=True):
        torch.testing.assert_close(our_value, plain_value)
        options = {"retain_graph": True, "materialize_grads": True, "allow_unused": True}
        our_gradient = torch.autograd.grad(our_value, (logits, field), **options)
        plain_gradient = torch.autograd.grad(plain_value, (logits, field), **options)
        torch.testing.assert_close(our_gradient, plain_gradient)


def test_gradients_are_those_of_finite_differences():
    logits, field, class_map = batch(0, 7, 8)

    def total(logits: Tensor, field: Tensor) -> Tensor:
        return relation_loss(logits, field, class_map, radius=4).total

    assert torch.autograd.gradcheck(total, (logits, field))


def test_gradients_of_single_precision_are_those_of_the_plain_form():
    logits, field, class_map = batch(1, 40, 50, torch.float32)
    ours = torch.autograd.grad(relation_loss(logits, field, class_map).total, (logits, field))
    plain = plain_loss(logits, field, class_map, 10, offsets(10))
    torch.testing.assert_close(ours, torch.autograd.grad(plain.total, (logits, field)))


def test_background_displacements_have_the_given_weight():
    logits, field, class_map = batch(2, 12, 14)
    whole, half = (relation_loss(logits, field, class_map, 4, weight) for weight in (1.0, 0.5))
    assert tuple(half)[:-1] == tuple(whole)[:-1]
    torch.testing.assert_close(whole.total - half.total, whole.displacement_background / 4)


def test_a_tie_goes_to_one_pixel_of_the_line():
    logits = torch.zeros(1, 1, 3, 9, requires_grad=True)
    class_map = torch.zeros(1, 3, 9, dtype=torch.uint8)
    loss = relation_loss(logits, torch.zeros(1, 2, 3, 9), class_map, radius=3).boundary_background
    loss.backward()
    # d/dx -log(1 - sigmoid(x)) = sigmoid(x) at the one pixel each pair has its maximum at.
    assert logits.grad.sum() == pytest.approx(0.5, rel=1e-4)


def test_a_true_field_has_no_displacement_loss():
    # Every pixel points at the centroid (7, 11), and background does not move.
    rows, columns = torch.meshgrid(torch.arange(15.0), torch.arange(23.0), indexing="ij")
    field = torch.stack([7 - rows, 11 - columns])[None]
    class_map = torch.ones(1, 15, 23, dtype=torch.uint8)
    assert relation_loss(torch.zeros(1, 1, 15, 23), field, class_map).displacement_foreground == 0
    assert relation_loss(torch.zeros(1, 1, 15, 23), -field, class_map).displacement_foreground > 1
    assert relation_loss(torch.zeros(1, 1, 15, 23), 0 * field, 0 * class_map).displacement_background == 0


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 40), (40, 5), (9, 40), (40, 18)])
def test_images_smaller_than_the_radius_have_no_pairs(height, width):
    logits, field, class_map = batch(3, height, width)
    losses = relation_loss(logits, field, class_map, radius=10)
    losses.total.backward()
    assert all(loss == 0 for loss in losses)
    assert (logits.grad == 0).all() and (field.grad == 0).all()


@pytest.mark.parametrize("label", [0, 1, 255])
def test_a_kind_without_pairs_is_zero(label):
    logits, field, class_map = batch(4, 14, 20)
    losses = relation_loss(logits, field, torch.full_like(class_map, label), radius=5)
    losses.total.backward()
    assert (losses.boundary_background > 0) == (losses.displacement_background > 0) == (label == 0)
    assert (losses.boundary_foreground > 0) == (losses.displacement_foreground > 0) == (label == 1)
    assert losses.boundary_negative == 0
    assert logits.grad.isfinite().all() and field.grad.isfinite().all()


def test_autocast_and_memory_formats_change_nothing():
    logits, field, class_map = batch(5, 24, 30, torch.float32)
    expected = relation_loss(logits, field, class_map)
    with torch.autocast("cpu", torch.bfloat16):
        cast = relation_loss(logits, field, class_map)
    assert all(loss.dtype == torch.float32 for loss in cast)
    torch.testing.assert_close(tuple(cast), tuple(expected))
    last = relation_loss(logits, field.contiguous(memory_format=torch.channels_last), class_map)
    torch.testing.assert_close(tuple(last), tuple(expected))
    low = relation_loss(logits.bfloat16(), field.bfloat16(), class_map)
    exact = relation_loss(logits.bfloat16().float(), field.bfloat16().float(), class_map)
    torch.testing.assert_close(tuple(low), tuple(exact))


def test_wrong_inputs_are_refused():
    logits, field, class_map = batch(6, 12, 13)
    with pytest.raises(ValueError, match=r"got \(2, 1, 12, 13\), \(2, 1, 12, 13\) and \(2, 12, 13\)"):
        relation_loss(logits, logits, class_map)
    with pytest.raises(ValueError, match=r"got .* and \(2, 1, 12, 13\)"):
        relation_loss(logits, field, class_map[:, None])
    with pytest.raises(ValueError, match="class_map must be uint8 .* got torch.int64"):
        relation_loss(logits, field, class_map.long())


@pytest.mark.gpu
def test_the_gpu_gives_the_same_losses_and_gradients():
    logits, field, class_map = batch(7, 40, 50, torch.float32)
    on_gpu = relation_loss(logits.cuda(), field.cuda(), class_map.cuda())
    on_cpu = relation_loss(logits, field, class_map)
    torch.testing.assert_close(tuple(loss.cpu() for loss in on_gpu), tuple(on_cpu))
    torch.testing.assert_close(
        torch.autograd.grad(on_gpu.total, (logits, field)), torch.autograd.grad(on_cpu.total, (logits, field))
    )
