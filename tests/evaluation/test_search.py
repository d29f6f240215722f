"""The choice among candidates and its cross-validation, on tables of scores worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from irnet_ray.evaluation.search import FOLDS, Candidate, Score, choose, search

OWN, OTHER, THIRD = (0.3,), (0.4,), (0.5,)
GRID = [OWN, OTHER, THIRD]


def mean_of(table: Mapping[Candidate, list[float]]) -> Score:
    """An objective that is the mean of each image's own score."""
    return lambda picked: float(np.mean([table[candidate][image] for image, candidate in picked.items()]))


def test_the_highest_score_on_the_images_asked_for_is_chosen() -> None:
    score = mean_of({OWN: [1, 0, 0], OTHER: [0, 2, 0], THIRD: [0, 0, 3]})
    assert [choose(GRID, OWN, images, score) for images in ([0], [1], [2], [0, 1], [0, 1, 2])] == [
        OWN,
        OTHER,
        THIRD,
        OTHER,
        THIRD,
    ]


def test_ties_go_to_the_run_s_own_value_and_then_to_the_first() -> None:
    assert choose(GRID, THIRD, [0], mean_of(dict.fromkeys(GRID, [0.7]))) == THIRD
    assert choose(GRID, OWN, [0], mean_of({OWN: [0.1], OTHER: [0.7], THIRD: [0.7]})) == OTHER


def test_the_run_s_own_value_need_not_be_among_the_candidates() -> None:
    assert choose([OTHER, THIRD], OWN, [0], mean_of({OWN: [0.9], OTHER: [0.7], THIRD: [0.8]})) == OWN


def test_a_score_that_says_nothing_never_wins() -> None:
    nothing = float("nan")
    assert choose(GRID, OWN, [0], mean_of({OWN: [0.0], OTHER: [nothing], THIRD: [nothing]})) == OWN
    assert choose(GRID, OWN, [0], mean_of({OWN: [nothing], OTHER: [0.1], THIRD: [nothing]})) == OTHER
    assert choose(GRID, OWN, [0], mean_of(dict.fromkeys(GRID, [nothing]))) == OWN


def test_a_candidate_that_is_better_everywhere_gains_its_lead() -> None:
    choice = search(GRID, OWN, 10, mean_of({OWN: [0.5] * 10, OTHER: [0.75] * 10, THIRD: [0.25] * 10}))
    assert (choice.best, choice.chosen, choice.folds) == (OTHER, OTHER, (OTHER,) * FOLDS)
    assert (choice.before, choice.after, choice.gain) == (0.5, 0.75, 0.25)


def test_one_lucky_image_is_no_gain() -> None:
    """OTHER is best on all images by image 0 alone: the four folds that hold it choose OTHER, and lose on theirs."""
    choice = search([OWN, OTHER], OWN, 5, mean_of({OWN: [0] * 5, OTHER: [10, -1, -1, -1, -1]}))
    assert choice.folds == (OWN, OTHER, OTHER, OTHER, OTHER)
    assert (choice.before, choice.after) == (0, -4 / 5)
    assert (choice.best, choice.chosen) == (OTHER, OWN)


def test_no_gain_at_all_keeps_the_run_s_own() -> None:
    # Both are equal on the whole, and every fold chooses what is better without it.
    choice = search([OWN, OTHER], OWN, 5, mean_of({OWN: [0] * 5, OTHER: [1, 1, 1, 1, -4]}))
    assert (choice.folds, choice.gain) == ((OWN, OWN, OWN, OWN, OTHER), -0.8)
    assert choice.chosen == OWN


@given(st.integers(1, 30), st.integers(0, 999))
def test_no_image_has_a_say_in_what_it_is_scored_with(images: int, seed: int) -> None:
    """Whatever the score of image 0 becomes, the candidate that it is given does not change."""
    random = np.random.default_rng(seed)
    table = {candidate: list(random.random(images)) for candidate in GRID}
    given_to_it = set()
    for candidate in GRID:
        changed = {name: list(scores) for name, scores in table.items()}
        changed[candidate][0] += 1000
        asked = asked_of(images, changed)
        assert set(asked[-1]) == set(range(images))  # the last is that of the held-out images together
        given_to_it.add(asked[-1][0])
    assert len(given_to_it) == 1


def asked_of(images: int, table: Mapping[Candidate, list[float]]) -> list[Mapping[int, Candidate]]:
    """What a search scores, in order."""
    asked: list[Mapping[int, Candidate]] = []

    def score(picked: Mapping[int, Candidate]) -> float:
        asked.append(picked)
        return mean_of(table)(picked) if picked else float("nan")

    search(GRID, OWN, images, score)
    return asked


def test_held_out_images_are_scored_together() -> None:
    """A ratio of sums is no mean of ratios: 6 of 20 right, not the mean of 1, 1, 1, 1 and 2 of 16."""
    right, said = np.array([1, 1, 1, 1, 2]), np.array([1, 1, 1, 1, 16])

    def score(picked: Mapping[int, Candidate]) -> float:
        images = list(picked)
        return float(right[images].sum() / said[images].sum())

    assert search([OWN], OWN, 5, score).after == pytest.approx(6 / 20)
