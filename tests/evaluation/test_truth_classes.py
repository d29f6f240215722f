"""Truth whose classes are spelt otherwise than those of the run."""

from __future__ import annotations

import pytest

from irnet_ray.classes import Classes
from irnet_ray.errors import UserError
from irnet_ray.evaluation.average_precision import TruthInstance
from irnet_ray.evaluation.truth import Truth, TruthImage
from irnet_ray.evaluation.truth_classes import fit_truth, run_classes

RLE = {"size": [4, 4], "counts": b"0"}


def truth(**classes: str) -> Truth:
    """Images with an instance of each of some classes, separated by spaces."""
    return Truth(
        {
            name: TruthImage(4, 4, [TruthInstance(name, one, RLE) for one in text.split()])
            for name, text in classes.items()
        }
    )


def names_of(found: Truth) -> dict[str, list[str]]:
    return {name: [instance.class_name for instance in image.instances] for name, image in found.images.items()}


def test_other_spellings_are_matched_and_said() -> None:
    found = fit_truth(truth(a="Dog cat", b="dogs"), Classes(("cat", "dog")), {"a", "b"}, "t.json")
    assert names_of(found.truth) == {"a": ["dog", "cat"], "b": ["dog"]}
    assert found.notes == ["classes of the truth taken for the run's: Dog is dog, dogs is dog"]


def test_the_same_classes_change_nothing() -> None:
    given = truth(a="dog cat")
    assert fit_truth(given, Classes(("cat", "dog", "emu")), {"a"}, "t.json") == (given, [])


def test_synonyms_map_and_leave_out() -> None:
    known = Classes(("dog",), {"Hund": "dog", "Himmel": ""})
    found = fit_truth(truth(a="Hund Himmel Himmel"), known, {"a"}, "t.json")
    assert names_of(found.truth) == {"a": ["dog"]}
    assert found.notes[1] == "2 instances of the truth left out by the synonyms (Himmel)"


def test_classes_that_the_run_does_not_know_are_named_and_still_count() -> None:
    found = fit_truth(truth(a="dog zebra", b="zebra"), Classes(("dog",)), {"a", "b"}, "t.json")
    assert names_of(found.truth) == {"a": ["dog", "zebra"], "b": ["zebra"]}
    assert found.notes[0].startswith("the run does not know zebra 2: these instances of the truth count as not found")


@pytest.mark.parametrize("synonyms", [{}, {"Hund": ""}])
def test_truth_of_which_no_class_fits_is_refused(synonyms: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"No class of t\.json \(Hund\) is a class of the run \(cat, dog\).*--synonyms"):
        fit_truth(truth(a="Hund"), Classes(("cat", "dog"), synonyms), {"a"}, "t.json")


def test_only_images_of_the_run_are_looked_at() -> None:
    assert fit_truth(truth(a="", b="Hund"), Classes(("dog",)), {"a"}, "t.json").notes == []


def test_the_names_of_ids_are_other_spellings_where_they_are_unique() -> None:
    shown = {"n1": "tench", "n2": "crane", "n3": "crane"}
    known = run_classes(["n1", "n2", "n3"], shown, {"Schleie": "n1", "Pferd": "horse"})
    assert [known.find(name) for name in ("tench", "Tench", "Schleie", "crane", "Pferd")] == [
        "n1",
        "n1",
        "n1",
        None,
        None,
    ]
