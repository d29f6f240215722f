from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate

from irnet_ray.algorithms import synthesis
from tests.algorithms import published
from tests.algorithms.published import instance_map, random_walk


def iou(one, other):
    return float((one & other).sum() / (one | other).sum())


def assert_same_instances(found, expected, least_iou=0.99):
    """One to one: the same class, mask and score."""
    assert len(found.masks) == len(expected.masks)
    left = list(range(len(expected.masks)))
    for mask, class_index, score in zip(found.masks, found.class_index, found.score, strict=True):
        match = max(left, key=lambda i: iou(mask, expected.masks[i]))
        left.remove(match)
        assert iou(mask, expected.masks[match]) >= least_iou
        assert class_index == expected.class_index[match]
        assert score == pytest.approx(float(expected.score[match]), abs=1e-2)


class Expected(NamedTuple):
    """Instances of a plain form or of the reference, which know no stability."""

    masks: torch.Tensor
    class_index: torch.Tensor
    score: torch.Tensor


def plain_instances(cams, boundary, field, size, background=0.25, fraction=0.01, per_class=False, steps=256):
    """The definition word for word: one map per class and group, all walked, all upsampled."""
    groups = instance_map(field)
    apart = [(k, g, cam * (groups == g)) for k, cam in enumerate(cams) for g in groups.unique().tolist()]
    walked = random_walk(torch.stack([m for _, _, m in apart]), boundary, steps=steps)
    scores = interpolate(walked[None], scale_factor=4, mode="bilinear")[0, :, : size[0], : size[1]]
    of = torch.tensor([k for k, _, _ in apart])
    for k in of.unique() if per_class else [of]:
        scores[of == k] /= scores[of == k].max()
    best, winner = scores.max(dim=0)
    masks, class_index, score = [], [], []
    for number in winner[best > background].unique().tolist():
        for part in four_connected_parts((winner == number) & (best > background)):
            if part.sum() >= fraction * part.numel():
                masks.append(part)
                class_index.append(of[number])
                score.append(scores[number][part].max())
    return Expected(torch.stack(masks), torch.stack(class_index), torch.stack(score))


def plain_semantic(cams, boundary, size, per_class=False, steps=256):
    """The semantic label from a walk of the class maps only, which needs no field."""
    return published.walked_semantic(random_walk(cams, boundary, steps=steps), size, per_class=per_class)


def instances_of(*arguments, **knobs):
    return published.labels(*arguments, **knobs).instances


def four_connected_parts(mask):
    left = {tuple(cell) for cell in mask.nonzero().tolist()}
    while left:
        reach = [left.pop()]
        part = torch.zeros_like(mask)
        while reach:
            y, x = reach.pop()
            part[y, x] = True
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            reach.extend(near)
        yield part


def discs(centres, radius, height, width):
    """Discs at stride 4 with an exact field ▶ cam (1,h,w), boundary (h,w), field (2,h,w)."""
    grid = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")).float()
    offsets = torch.tensor(centres).float()[:, :, None, None] - grid
    distance, owner = offsets.norm(dim=1).min(dim=0)
    inside = distance <= radius
    field = offsets.gather(0, owner.expand(1, 2, -1, -1))[0] * inside
    around = torch.nn.functional.max_pool2d(inside[None].float(), 3, 1, 1)[0] - inside.float()
    return inside[None].float(), around, field


def noisy_scene(seed, tags=2, height=14, width=18, noise=4.0):
    """Smooth attention of overlapping classes and a field that falls into many small groups."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, tags + 1, 4, 5, generator=generator)
    maps = interpolate(coarse, (height, width), mode="bilinear")[0]
    cams = (maps[:-1] - 0.3).clamp(min=0)
    cams = cams / cams.amax(dim=(1, 2), keepdim=True).clamp(min=1e-5)
    field = torch.randn(1, 2, height // 3, width // 3, generator=generator) * noise
    return cams, maps[-1] ** 3, interpolate(field, (height, width), mode="bicubic")[0]


@pytest.mark.parametrize("name", ["label_24x32", "label_33x47", "label_48x64"])
def test_agrees_with_the_published_implementation(reference, name):
    case = {key: torch.from_numpy(value) for key, value in reference(name).items()}
    size = tuple(case["image_size"].tolist())
    found, semantic = published.labels(case["cam"], case["edge"][0], case["displacement"], size)
    counted = case["det_score"] > 0
    masks = np.unpackbits(case["det_mask"].numpy(), axis=-1)[..., : size[1]].astype(bool)
    expected = Expected(torch.from_numpy(masks)[counted], case["det_class"][counted] - 1, case["det_score"][counted])
    assert_same_instances(found, expected)
    assert (semantic == case["semantic"]).float().mean() >= 0.999
    alone = plain_semantic(case["cam"], case["edge"][0], size)
    assert (alone == case["semantic"]).float().mean() >= 0.999


def test_two_touching_discs_of_one_class_are_two_instances_and_one_region():
    cams, boundary, field = discs([(10, 9), (10, 19)], 5, 20, 30)
    found, semantic = published.labels(cams, boundary, field, (80, 120))
    assert found.class_index.tolist() == [0, 0]
    assert found.score.max() == 1
    left, right = sorted(found.masks, key=lambda mask: mask.nonzero()[:, 1].float().mean())
    assert left[40, 38] and right[40, 78] and not (left & right).any()
    assert torch.equal(semantic > 0, left | right)
    assert abs(int(left.sum()) - int(right.sum())) < 0.1 * left.sum()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.booleans())
def test_without_a_field_instances_are_the_connected_parts_of_the_semantic_label(seed, tags, per_class):
    cams, boundary, field = noisy_scene(seed, tags)
    found, semantic = published.labels(cams, boundary, torch.zeros_like(field), (55, 70), per_class=per_class)
    expected = {
        (number - 1, part.numpy().tobytes())
        for number in range(1, tags + 1)
        for part in four_connected_parts(semantic == number)
        if part.sum() >= 0.01 * part.numel()
    }
    ours = {(int(k), mask.numpy().tobytes()) for k, mask in zip(found.class_index, found.masks, strict=True)}
    assert ours == expected


def test_a_label_is_the_last_step_of_a_walk():
    cams, boundary, _ = noisy_scene(3)
    walked = random_walk(cams, boundary)
    label = published.walked_semantic(walked, (55, 70), background=0.4)
    scores = interpolate(walked[None], scale_factor=4, mode="bilinear")[0, :, :55, :70]
    best, number = (scores / scores.max()).max(dim=0)
    assert torch.equal(label, torch.where(best > 0.4, number + 1, 0).to(torch.uint8))
    assert label.dtype == torch.uint8 and not published.walked_semantic(walked[:0], (55, 70)).any()


def test_without_a_field_they_are_one_instance():
    cams, boundary, field = discs([(10, 9), (10, 19)], 5, 20, 30)
    found = instances_of(cams, boundary, torch.zeros_like(field) + 99, (80, 120))
    assert len(found.masks) == 1


def test_cells_that_reach_no_centroid_are_an_instance_too():
    cams, boundary, _ = discs([(8, 8)], 5, 17, 17)
    nowhere = torch.full((2, 17, 17), 30.0)
    assert not instance_map(nowhere).any()
    found = instances_of(cams, boundary, nowhere, (68, 68))
    assert len(found.masks) == 1 and found.masks[0, 34, 34] and found.score == 1


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 999), tags=st.integers(1, 4), per_class=st.booleans(), chunk=st.integers(1, 9))
def test_dropping_groups_unwalked_changes_nothing_against_the_plain_form(seed, tags, per_class, chunk):
    cams, boundary, field = noisy_scene(seed, tags)
    size = (55, 70)
    steps = 16  # few enough to leave differences on this small grid: equal scores may go either way
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesis, "_CPU_CHUNK", chunk)
        found, semantic = published.labels(
            cams, boundary, field, size, min_area_fraction=0.02, per_class=per_class, steps=steps
        )
    expected = plain_instances(cams, boundary, field, size, fraction=0.02, per_class=per_class, steps=steps)
    assert_same_instances(found, expected)
    alone = plain_semantic(cams, boundary, size, per_class=per_class, steps=steps)
    assert (semantic == alone).float().mean() >= 0.999


def test_a_noisy_field_walks_few_of_its_groups(monkeypatch):
    walked = []

    def counting(scores, **settings):
        walked.append(len(scores))
        return random_walk(scores, **settings)

    cams, boundary, field = noisy_scene(2, 2, 40, 50, noise=6)
    groups = len(instance_map(field).unique())
    assert groups > 10
    monkeypatch.setattr(synthesis, "random_walk", counting)
    found = instances_of(cams, boundary, field, (160, 200))
    assert sum(walked) < groups, "of two maps per group"
    assert_same_instances(found, plain_instances(cams, boundary, field, (160, 200)))


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 999))
def test_what_any_labels_must_be(seed):
    cams, boundary, field = noisy_scene(seed, 3)
    found, semantic = published.labels(cams, boundary, field, (55, 70))
    assert found.masks.dtype == torch.bool and found.masks.shape[1:] == (55, 70)
    assert found.class_index.dtype == torch.int64 and found.score.dtype == torch.float32
    assert semantic.dtype == torch.uint8 and semantic.max() <= 3
    assert (found.masks.sum(dim=0) <= 1).all(), "masks are disjoint"
    assert (found.masks.sum(dim=(1, 2)) >= 0.01 * 55 * 70).all()
    assert ((found.score > 0.25) & (found.score <= 1)).all()
    assert found.class_index.tolist() == sorted(found.class_index.tolist())
    assert all(len(list(four_connected_parts(mask))) == 1 for mask in found.masks)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 999))
def test_flips_commute(seed):
    cams, boundary, field = noisy_scene(seed, 2, noise=1.0)
    found = instances_of(cams, boundary, field, (56, 72), min_area_fraction=0.05)
    turned = field.flip(2) * torch.tensor([1, -1])[:, None, None]
    other = instances_of(cams.flip(2), boundary.flip(1), turned, (56, 72), min_area_fraction=0.05)
    flipped = Expected(other.masks.flip(2), other.class_index, other.score)
    covered, again = found.masks.any(dim=0), flipped.masks.any(dim=0)
    assert (covered == again).float().mean() > 0.97


def test_a_weak_class_beside_a_strong_one_is_kept_where_asked():
    cams, boundary, field = discs([(10, 7), (10, 23)], 4, 20, 30)
    left = torch.arange(30) < 15
    both = torch.cat([cams * left, 0.2 * cams * ~left])
    strong = published.labels(both, boundary, field, (80, 120))
    assert strong.instances.class_index.tolist() == [0] and strong.semantic.max() == 1
    kept = published.labels(both, boundary, field, (80, 120), per_class=True)
    assert kept.instances.class_index.tolist() == [0, 1] and kept.semantic.max() == 2
    assert kept.instances.score.tolist() == [1, 1]
    assert torch.equal(plain_semantic(both, boundary, (80, 120), per_class=True), kept.semantic)


def test_every_tag_keeps_its_largest_part_where_all_are_small():
    cams = torch.zeros(3, 20, 20)
    cams[0, 2:12, 2:12] = 1
    cams[1, 15:17, 15:17] = 1  # 4 of 400 cells, and one cell
    cams[1, 18, 2] = 1
    boundary, field = torch.zeros(20, 20), torch.zeros(2, 20, 20)
    some, every = (
        instances_of(cams, boundary, field, (80, 80), steps=0, min_area_fraction=0.02, every_tag=every_tag)
        for every_tag in (False, True)
    )
    assert some.class_index.tolist() == [0]
    assert every.class_index.tolist() == [0, 1]  # of the third tag there is nothing to keep
    assert torch.equal(every.masks[0], some.masks[0])
    assert every.masks[1][60:68, 60:68].all() and not every.masks[1][70:].any()


def test_a_score_by_extent_is_the_mean_times_the_root_of_the_share():
    cams = torch.zeros(2, 20, 20)
    cams[0, :10, :10] = 1
    cams[1, 12:17, 12:17] = 0.5
    boundary, field = torch.zeros(20, 20), torch.zeros(2, 20, 20)
    peak, extent = (instances_of(cams, boundary, field, (80, 80), steps=0, score=score) for score in ("peak", "extent"))
    assert torch.equal(peak.masks, extent.masks)
    assert peak.score.tolist() == pytest.approx([1, 0.5])
    shares = peak.masks.float().mean(dim=(1, 2))
    upsampled = interpolate(cams[None], scale_factor=4, mode="bilinear")[0]
    means = [float(upsampled[k][peak.masks[k]].mean()) for k in range(2)]
    assert extent.score.tolist() == pytest.approx([m * float(s) ** 0.5 for m, s in zip(means, shares, strict=True)])


def test_small_parts_are_left_out():
    cams, boundary, field = discs([(10, 7), (10, 23)], 4, 20, 30)
    size = (80, 120)
    area = instances_of(cams, boundary, field, size).masks.sum(dim=(1, 2)) / (80 * 120)
    assert len(area) == 2
    none = instances_of(cams, boundary, field, size, min_area_fraction=float(area.max()) + 0.001)
    assert none.masks.shape == (0, 80, 120) and none.score.shape == none.class_index.shape == (0,)
    assert len(instances_of(cams, boundary, field, size, min_area_fraction=0).masks) == 2


@pytest.mark.parametrize("tags", [0, 1, 3])
def test_an_image_where_nothing_is_found(tags):
    nothing = torch.zeros(tags, 6, 7)
    found, semantic = published.labels(nothing, torch.rand(6, 7), torch.randn(2, 6, 7) * 3, (22, 27))
    assert found.masks.shape == (0, 22, 27) and found.masks.dtype == torch.bool
    assert found.class_index.shape == found.score.shape == (0,)
    assert semantic.shape == (22, 27) and not semantic.any()
    # All of the attention lies on the boundary.
    assert not len(instances_of(nothing + 1, torch.ones(6, 7), torch.zeros(2, 6, 7), (22, 27)).masks)


def test_one_pixel():
    one = torch.ones(1, 1, 1)
    found, semantic = published.labels(one, torch.zeros(1, 1), torch.zeros(2, 1, 1), (1, 1))
    assert found.masks.tolist() == [[[True]]] and found.score.tolist() == [1] and semantic.tolist() == [[1]]


def test_half_precision_inputs():
    cams, boundary, field = discs([(10, 9), (10, 19)], 5, 20, 30)
    found = instances_of(cams.half(), boundary.half(), field.half(), (80, 120))
    assert_same_instances(found, instances_of(cams, boundary, field, (80, 120)))


def test_raw_attention_splits_by_class_and_connection():
    cams = torch.zeros(2, 10, 20)
    cams[0, 2:5, 2:6] = 0.9
    cams[0, 5:8, 6:9] = 0.5  # touches the first at a corner only
    cams[1, 2:8, 12:18] = 0.7
    cams[0, 4:6, 12:18] = 0.6  # under the other class
    cams[0, 9, 19] = 1.0  # one pixel of 200 is under 1 %
    found = published.cam_instances(cams)
    assert found.class_index.tolist() == [0, 0, 1]
    assert found.masks.sum(dim=(1, 2)).tolist() == [12, 9, 36]
    assert found.score.tolist() == pytest.approx([0.9, 0.5, 0.7])
    assert published.cam_instances(cams, threshold=0.8).class_index.tolist() == [0]
    assert len(published.cam_instances(cams, min_area_fraction=0).masks) == 4
    semantic = published.cam_semantic(cams)
    assert semantic.dtype == torch.uint8 and semantic.unique(return_counts=True)[1].tolist() == [142, 22, 36]


@pytest.mark.parametrize("tags", [0, 2])
def test_raw_attention_of_nothing(tags):
    found = published.cam_instances(torch.zeros(tags, 5, 6))
    assert found.masks.shape == (0, 5, 6)
    assert not published.cam_semantic(torch.zeros(tags, 5, 6)).any()


GOOD = {
    "cams": torch.ones(1, 4, 5),
    "boundary": torch.zeros(4, 5),
    "field": torch.zeros(2, 4, 5),
    "image_size": (16, 20),
}


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"cams": torch.ones(4, 5)}, r"\(K, height, width\), got torch.float32 \(4, 5\)"),
        ({"cams": torch.ones(1, 4, 5).long()}, "float"),
        ({"cams": torch.ones(1, 4, 6)}, r"\(K, 4, 5\), got \(1, 4, 6\)"),
        ({"cams": torch.ones(255, 4, 5)}, "at most 254 tags.*got 255"),
        ({"cams": torch.full((1, 4, 5), torch.nan)}, "NaN"),
        ({"cams": -torch.ones(1, 4, 5)}, "negative"),
        ({"boundary": torch.zeros(1, 4, 5)}, r"\(4, 5\) like the cams, got \(1, 4, 5\)"),
        ({"boundary": torch.full((4, 5), torch.nan)}, "NaN"),
        ({"boundary": torch.full((4, 5), 1.5)}, r"outside \[0, 1\]"),
        ({"field": torch.zeros(2, 5, 4)}, r"\(2, 4, 5\), got \(2, 5, 4\)"),
        ({"field": torch.full((2, 4, 5), torch.nan)}, "NaN"),
        ({"image_size": (17, 20)}, r"17 x 20 image, \(K, 5, 5\)"),
        ({"image_size": (0, 20)}, "0 x 20"),
    ],
)
def test_bad_input_is_named(bad, words):
    with pytest.raises(ValueError, match=words):
        instances_of(**(GOOD | bad))


def test_bad_raw_attention_is_named():
    for function in (published.cam_instances, published.cam_semantic):
        with pytest.raises(ValueError, match="NaN"):
            function(torch.full((1, 4, 5), torch.nan))


@pytest.mark.gpu
def test_the_gpu_agrees():
    cams, boundary, field = noisy_scene(0, 3, 94, 125)
    found, semantic = published.labels(cams.cuda(), boundary.cuda(), field.cuda(), (375, 500))
    expected, expected_semantic = published.labels(cams, boundary, field, (375, 500))
    assert found.masks.is_cuda and semantic.is_cuda
    assert_same_instances(synthesis.Instances(*(value.cpu() for value in found)), expected)
    assert (semantic.cpu() == expected_semantic).float().mean() >= 0.999


def test_stability_is_the_share_of_a_mask_left_at_twice_the_threshold():
    cams = torch.zeros(1, 8, 10)
    cams[0, :, :5] = 0.4
    cams[0, :, 2:4] = 0.9
    found = published.cam_instances(cams, threshold=0.25)
    assert found.stability.tolist() == pytest.approx([2 / 5])
    assert published.cam_instances(cams, threshold=0.1).stability.tolist() == [1]
