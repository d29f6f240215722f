import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irnet_ray.evaluation.bootstrap import Figure, draws, mean_over_classes, ratio

NAN = float("nan")


def test_every_sample_draws_as_many_images_as_there_are_and_the_first_draws_each_once():
    made = draws(7, 50)
    assert made.shape == (7, 51)
    assert (made[:, 0] == 1).all()
    assert (made.sum(0) == 7).all()
    assert (made >= 0).all() and (made[:, 1:] != 1).any()


def test_draws_are_the_same_every_time_and_differ_between_samples():
    assert np.array_equal(draws(20), draws(20))
    assert not np.array_equal(draws(20), draws(20, seed=1))
    assert len(np.unique(draws(20), axis=1).T) == 1001


def test_an_image_is_drawn_as_often_as_any_other():
    """Of 2,000 samples of 10, an image stands in Binomial(20,000, 1/10): 2,000 with a deviation of 42."""
    assert np.abs(draws(10, 2000)[:, 1:].sum(1) - 2000).max() < 5 * 42


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    """Mean of 400 values of deviation s: 1.96 s / 20 to either side."""
    values = np.random.default_rng(3).normal(0.5, 0.1, 400)
    figure = Figure(values @ draws(400) / 400)
    low, high = figure.interval
    assert figure.value == pytest.approx(values.mean())
    assert low < figure.value < high
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)


def test_one_image_leaves_no_doubt():
    assert Figure(np.array([0.3]) @ draws(1)).interval == (0.3, 0.3)


def test_samples_without_truth_are_left_out_of_the_interval():
    figure = Figure(np.array([0.5, NAN, 0.4, 0.4, NAN]))
    assert figure.value == 0.5
    assert figure.interval == pytest.approx((0.4, 0.4))
    assert np.isnan(Figure(np.full(3, NAN)).interval).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=30)
def test_a_figure_less_itself_is_nothing(values):
    figure = Figure(np.array(values) @ draws(len(values), 100) / len(values))
    assert (figure - figure).value == 0
    assert (figure - figure).interval == (0, 0)


def test_differences_of_the_same_samples_are_surer_than_their_parts():
    rng = np.random.default_rng(0)
    hard = rng.random(100)
    made = draws(100)
    before, after = (Figure((hard + gain) @ made / 100) for gain in (0, 0.1 + rng.normal(0, 0.01, 100)))
    low, high = (after - before).interval
    assert 0.09 < low < high < 0.11
    assert after.interval[0] < before.interval[1]


def test_a_class_without_truth_in_a_sample_is_left_out_of_its_mean():
    made = mean_over_classes(np.array([[0.2, NAN, NAN], [0.4, 0.4, NAN]]))
    assert made == pytest.approx([0.3, 0.4, NAN], nan_ok=True)
    assert np.isnan(mean_over_classes(np.zeros((0, 2)))).all()


def test_a_ratio_to_nothing_is_unknown():
    assert ratio(np.array([1, 0]), np.array([4, 0])) == pytest.approx([0.25, NAN], nan_ok=True)
