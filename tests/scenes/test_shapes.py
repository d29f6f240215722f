import numpy as np
import pytest

from irnet_ray.scenes.shapes import KINDS, draw, unit_area


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_sprite_covers_the_area_asked_for(kind):
    for seed in range(4):
        sprite = draw(kind, 3000, np.random.default_rng(seed))
        assert sprite.mask.sum() == pytest.approx(3000, rel=0.05)
        assert not sprite.mask[[0, -1]].any(), "the square holds the whole shape"
        assert not sprite.mask[:, [0, -1]].any(), "the square holds the whole shape"
        assert sprite.rgb.min() >= 0
        assert sprite.rgb.max() <= 1


def test_unit_area_of_a_disc_is_pi():
    assert unit_area(KINDS[0].shape) == pytest.approx(np.pi, rel=0.01)
