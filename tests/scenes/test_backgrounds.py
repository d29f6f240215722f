import numpy as np
import pytest

from irnet_ray.scenes.backgrounds import background, smooth_noise


def test_background_is_an_image_and_repeats():
    made = background((64, 90), np.random.default_rng(1))
    assert made.shape == (64, 90, 3)
    assert 0 <= made.min() < made.max() <= 1
    assert np.array_equal(made, background((64, 90), np.random.default_rng(1)))


@pytest.mark.parametrize("cells", [1, 4, 40])
def test_smooth_noise_is_linear_between_grid_points(cells):
    noise = smooth_noise((cells * 8, cells * 8), cells, np.random.default_rng(0))
    first_cell = noise[0, :8]
    assert np.allclose(np.diff(first_cell), first_cell[1] - first_cell[0])
