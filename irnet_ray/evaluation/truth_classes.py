"""Match the classes of truth with those of a run, so that "Dog" is compared with "dog" and nothing vanishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from irnet_ray.classes import LEFT_OUT, Classes, fit
from irnet_ray.errors import UserError, printable
from irnet_ray.evaluation.truth import Truth, TruthImage
from irnet_ray.text import count, names


class FittedTruth(NamedTuple):
    """Truth in the words of a run, and what was guessed about it."""

    truth: Truth
    notes: list[str]


def run_classes(vocabulary: Collection[str], shown: Mapping[str, str], synonyms: Mapping[str, str]) -> Classes:
    """The classes of a run with other spellings: synonyms, and the names that ids are shown by.

    Args:
        vocabulary: the run's classes.
        shown: names that people read in place of classes that are ids.
        synonyms: spelling ▶ class, or `LEFT_OUT`.
    """
    times = Counter(shown.values())
    by_name = {name: known for known, name in shown.items() if times[name] == 1 and name not in vocabulary}
    known = {*vocabulary, LEFT_OUT}
    return Classes(tuple(vocabulary), by_name | {name: of for name, of in synonyms.items() if of in known})


def fit_truth(truth: Truth, classes: Classes, image_ids: Collection[str], where: str) -> FittedTruth:
    """Truth whose classes are called as the run calls them.

    A class that the run does not know keeps its name: its instances count as not found. Instances of a class that the
    synonyms leave out are dropped.

    Args:
        truth: any truth.
        classes: the run's, from `run_classes`.
        image_ids: of the run; only classes in these images are looked at.
        where: the truth's file, for sentences.

    Raises:
        UserError: these images have instances, and no class of them is one of the run.
    """
    instances = Counter(
        instance.class_name for name in truth.images if name in image_ids for instance in truth.images[name].instances
    )
    found = fit(instances, classes)
    if instances and not any(known != LEFT_OUT for known in found.class_of.values()):
        raise UserError(
            f"No class of {where} ({names([printable(name) for name in sorted(instances)])}) is a class of the run "
            f"({names([printable(name) for name in classes.names])}): name its categories as the run does, or map them "
            "with --synonyms."
        )
    notes = []
    if found.guessed:
        shown = [f"{printable(name)} is {printable(known)}" for name, known in found.guessed.items()]
        notes.append(f"classes of the truth taken for the run's: {names(shown, 5)}")
    away = [name for name, known in found.class_of.items() if known == LEFT_OUT]
    if away:
        total = count(sum(instances[name] for name in away), "instance")
        notes.append(f"{total} of the truth left out by the synonyms ({names(away, 5)})")
    if found.lost:
        shown = [f"{printable(name)} {instances[name]}" for name in found.lost]
        notes.append(
            f"the run does not know {names(shown, 5)}: these instances of the truth count as not found; --synonyms "
            "maps them to its classes, or to nothing"
        )
    if not found.guessed and not away:
        return FittedTruth(truth, notes)
    return FittedTruth(Truth({name: _renamed(image, found.class_of) for name, image in truth.images.items()}), notes)


def _renamed(image: TruthImage, class_of: Mapping[str, str]) -> TruthImage:
    named = ((instance, class_of.get(instance.class_name, instance.class_name)) for instance in image.instances)
    return replace(image, instances=[replace(i, class_name=name) for i, name in named if name != LEFT_OUT])
