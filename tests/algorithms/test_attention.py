import numpy as np
import pytest
import torch

from irnet_ray.algorithms.attention import merge_scales


def test_agrees_with_the_published_implementation(reference):
    case = reference("cam_189x261")
    maps = [torch.from_numpy(case[name]) for name in case if name.startswith("scale_")]
    size = tuple(case["image_size"].tolist())
    strided, full = merge_scales(maps, size, case["keys"])
    torch.testing.assert_close(strided, torch.from_numpy(case["strided"]), atol=2e-3, rtol=0)
    torch.testing.assert_close(full, torch.from_numpy(case["high_res"]).float(), atol=2e-3, rtol=0)


def test_one_pixel_of_attention_peaks_where_it_is():
    maps = torch.zeros(5, 2, 3)
    maps[4, 1, 2] = 7.0
    strided, full = merge_scales([maps], (32, 48), [4])
    assert strided.shape == (1, 8, 12) and full.shape == (1, 32, 48)
    assert strided.max() == pytest.approx(1, abs=1e-4) and full.max() == pytest.approx(1, abs=1e-4)
    assert strided[0, -1, -1] == strided.max() and full[0, -1, -1] == full.max()


def test_classes_come_in_the_order_asked_for_and_each_is_divided_by_its_own_maximum():
    maps = [torch.rand(6, 3, 4) * torch.tensor([1, 2, 3, 4, 5, 0.1])[:, None, None]]
    both = merge_scales(maps, (45, 50), [5, 2])
    for one, ids in zip((0, 1), ([5], [2]), strict=True):
        alone = merge_scales(maps, (45, 50), ids)
        assert torch.equal(both.strided[one], alone.strided[0])
        assert torch.equal(both.full[one], alone.full[0])
    assert both.full.amax(dim=(1, 2)) == pytest.approx([1, 1], abs=1e-2)


@pytest.mark.parametrize("size", [(1, 1), (3, 17), (16, 5), (512, 9)])
def test_sizes_that_are_no_multiples_of_the_stride(size):
    strided, full = merge_scales([torch.rand(2, 1, 1), torch.rand(2, 2, 3)], size, torch.tensor([1]))
    assert strided.shape == (1, -(-size[0] // 4), -(-size[1] // 4))
    assert full.shape == (1, *size)


def test_no_tags_and_no_attention_are_no_error():
    strided, full = merge_scales([torch.rand(20, 2, 2)], (30, 30), [])
    assert strided.shape == (0, 8, 8) and full.shape == (0, 30, 30)
    strided, full = merge_scales([torch.zeros(20, 2, 2)], (30, 30), [3])
    assert strided.sum() == 0 and full.sum() == 0


def test_half_precision_maps_give_float32():
    strided, full = merge_scales([torch.rand(2, 3, 3).half()], (40, 40), [0, 1])
    assert strided.dtype == full.dtype == torch.float32


@pytest.mark.parametrize(
    ("maps", "size", "ids", "words"),
    [
        ([], (8, 8), [0], "at least one scale"),
        ([torch.zeros(2, 2)], (8, 8), [0], r"\(C, h, w\).*\(2, 2\)"),
        ([torch.zeros(2, 2, 2), torch.zeros(3, 4, 4)], (8, 8), [0], "same C"),
        ([torch.zeros(2, 2, 2)], (8, 0), [0], "at least one pixel"),
        ([torch.zeros(2, 2, 2)], (8, 8), [2], r"0\.\.1, got \[2\]"),
        ([torch.zeros(2, 2, 2)], (8, 8), [-1], r"0\.\.1, got \[-1\]"),
        ([torch.full((2, 2, 2), np.nan)], (8, 8), [0], "NaN"),
    ],
)
def test_bad_input_is_named(maps, size, ids, words):
    with pytest.raises(ValueError, match=words):
        merge_scales(maps, size, ids)
