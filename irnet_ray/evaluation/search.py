"""The best of a few candidates on a few images, and what it gains on images that it was not chosen on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

FOLDS = 5

Candidate = tuple[float, ...]  # values of knobs that are chosen together
Score = Callable[[Mapping[int, Candidate]], float]
"""The objective over some images, each (by its number) with a candidate of its own; NaN: it says nothing."""


@dataclass(frozen=True)
class Choice:
    """What a search found, and what cross-validation says of it."""

    own: Candidate  # what the run has
    best: Candidate  # on all images
    folds: tuple[Candidate, ...]  # the best without each fold's images
    before: float  # the objective with `own`
    after: float  # the objective where each image has the candidate that was chosen without it

    @property
    def gain(self) -> float:
        """What choosing gains on images it was not done on."""
        return self.after - self.before

    @property
    def chosen(self) -> Candidate:
        """The best, or `own` where choosing gains nothing: then the best is luck of these images."""
        return self.best if self.gain > 0 else self.own


def search(candidates: Sequence[Candidate], own: Candidate, images: int, score: Score) -> Choice:
    """Choose on all of `images`, and by cross-validation, image n being in fold `n % FOLDS`.

    The held-out images are scored together, not fold by fold: precision and recall of a handful of images mean little.
    """
    everything = range(images)
    best = choose(candidates, own, everything, score)
    folds = tuple(choose(candidates, own, [n for n in everything if n % FOLDS != fold], score) for fold in range(FOLDS))
    return Choice(
        own=own,
        best=best,
        folds=folds,
        before=score(dict.fromkeys(everything, own)),
        after=score({n: folds[n % FOLDS] for n in everything}),
    )


def choose(candidates: Sequence[Candidate], own: Candidate, images: Sequence[int], score: Score) -> Candidate:
    """The candidate that scores highest on the images; `own` before its equals, then the first."""

    def known(candidate: Candidate) -> float:
        value = score(dict.fromkeys(images, candidate))
        return -math.inf if math.isnan(value) else value

    return max([own, *candidates], key=known)
