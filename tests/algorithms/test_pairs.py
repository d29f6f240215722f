import pytest
import torch

from irnet_ray.algorithms.affinity import offsets
from irnet_ray.algorithms.pairs import BACKGROUND, FOREGROUND, IGNORED, NEGATIVE, kinds, shifted, sources


@pytest.mark.parametrize("radius", [1, 2, 5])
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (4, 30), (30, 8), (12, 17)])
def test_sources_are_the_pixels_whose_half_disc_is_inside(radius, size):
    height, width = size
    inside = torch.zeros(size, dtype=torch.bool)
    inside[sources(radius, height, width)] = True
    for y in range(height):
        for x in range(width):
            # The half disc's box; a disc reaches each of its sides.
            fits = y + radius - 1 < height and radius - 1 <= x <= width - radius
            assert inside[y, x] == fits


def test_shifted_sources_are_the_other_ends():
    numbers = torch.arange(12 * 17).view(12, 17)
    window = sources(4, 12, 17)
    for dy, dx in offsets(4):
        assert (numbers[shifted(window, (dy, dx))] - numbers[window] == 17 * dy + dx).all()


def test_kinds_of_pairs_follow_from_their_ends():
    labels = torch.tensor([0, 1, 254, 255], dtype=torch.uint8)
    same, different = kinds(labels[None, None])
    assert same.flatten().tolist() == [BACKGROUND, FOREGROUND, FOREGROUND, IGNORED]
    for one in range(4):
        for other in range(4):
            if one != other:
                kind = max(different[0, 0, one], different[0, 0, other])
                assert kind == (IGNORED if 3 in (one, other) else NEGATIVE)
