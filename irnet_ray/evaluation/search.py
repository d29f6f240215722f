"""Choose the best of a few candidates on a few images, and measure what that gains on images it was not chosen on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

FOLDS = 5

Candidate = tuple[float, ...]  # values of knobs that are chosen together
Score = Callable[[Mapping[int, Candidate]], float]
"""The objective over some images, each with a candidate of its own, by the image's number. NaN if undefined."""


@dataclass(frozen=True)
class Choice:
    """The result of a search, with its cross-validation."""

    own: Candidate  # the run's own values
    best: Candidate  # on all images
    folds: tuple[Candidate, ...]  # for each fold, the best on the images of the others
    before: float  # the objective with `own`
    after: float  # the objective when each image has the candidate that was chosen without it

    @property
    def gain(self) -> float:
        """What choosing gains on images that had no part in the choice."""
        return self.after - self.before

    @property
    def chosen(self) -> Candidate:
        """The best; or `own` if choosing gains nothing, because then the best is best by chance."""
        return self.best if self.gain > 0 else self.own


def search(candidates: Sequence[Candidate], own: Candidate, images: int, score: Score) -> Choice:
    """Choose on all of `images`, and cross-validate the choice. Image n is in fold `n % FOLDS`.

    The held-out images of all folds are scored together: precision and recall of a handful of images mean little.
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
    """The candidate with the highest score on the images. Of equals `own` wins, then the first."""

    def known(candidate: Candidate) -> float:
        value = score(dict.fromkeys(images, candidate))
        return -math.inf if math.isnan(value) else value

    return max([own, *candidates], key=known)
