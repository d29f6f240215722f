import numpy as np
import pytest

from irnet_ray.report.colours import distinct, flow, heat


def test_distinct_colours_differ():
    colours = distinct(40).astype(int)
    assert colours.shape == (40, 3)
    gaps = np.abs(colours[:, None] - colours[None]).sum(axis=2) + 1000 * np.eye(40, dtype=int)
    assert gaps.min() > 10
    assert np.abs(np.diff(colours, axis=0)).sum(axis=1).min() > 150
    assert distinct(0).shape == (0, 3)


def test_heat_shows_the_strongest_tag():
    image = np.full((1, 3, 3), 100, np.uint8)
    cams = np.array([[[1.0, 0.2, 0.0]], [[0.5, 1.0, 0.0]]])
    shown = heat(image, cams)
    colours = distinct(2)
    gray = np.array([60, 60, 60])
    assert np.array_equal(shown[0, 0], np.rint(0.15 * gray + 0.85 * colours[0]))
    assert np.array_equal(shown[0, 1], np.rint(0.15 * gray + 0.85 * colours[1]))
    assert np.array_equal(shown[0, 2], gray)
    assert np.array_equal(heat(image, np.zeros((0, 1, 3))), np.full((1, 3, 3), 60))


@pytest.mark.parametrize(
    ("dy", "dx", "rgb"),
    [
        (0, 0, (255, 255, 255)),
        (0, 5, (255, 0, 0)),  # right: red
        (5 * 3**0.5 / 2, -2.5, (0, 255, 0)),  # 120 degrees on, clockwise on the screen: green
        (-5 * 3**0.5 / 2, -2.5, (0, 0, 255)),
        (0, 2.5, (255, 128, 128)),  # half the length: half the saturation
        (0, 50, (255, 0, 0)),  # more than full is full
    ],
)
def test_flow_colours(dy, dx, rgb):
    field = np.zeros((2, 30, 30))
    field[1] = 5
    field[:, 0, 0] = dy, dx
    shown, full = flow(field)
    assert full == 5
    assert shown[0, 0] == pytest.approx(rgb, abs=1)


def test_flow_without_motion_and_with_nan():
    shown, full = flow(np.full((2, 3, 4), np.nan))
    assert full == 0
    assert (shown == 255).all()
