"""Names and the classes that they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irnet_ray.classes import LEFT_OUT, Classes, fit

KNOWN = Classes(("traffic light", "dog", "berry", "glass"), {"hound": "dog", "sky": LEFT_OUT})


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("dog", "dog"),
        ("hound", "dog"),
        ("sky", LEFT_OUT),
        ("Dog", "dog"),
        ("dogs", "dog"),
        ("HOUND", "dog"),
        ("traffic_light", "traffic light"),
        ("Traffic-Lights", "traffic light"),
        ("berries", "berry"),
        ("glasses", "glass"),
        ("cat", None),
        ("do", None),
        ("", None),
    ],
)
def test_a_name_stands_for_the_one_class_that_fits(name: str, found: str | None) -> None:
    assert KNOWN.find(name) == found


def test_a_name_that_fits_two_classes_stands_for_none() -> None:
    both = Classes(("Dog", "dog", "DOGS"))
    assert both.find("dog") == "dog" and both.find("dOg") is None
    assert Classes(("dog", "dogs")).find("dogs") == "dogs"
    assert Classes(("dog", "dogs")).find("Dogs") == "dogs"


def test_without_a_list_any_name_is_a_class() -> None:
    assert Classes().find("anything") == "anything"
    assert Classes(synonyms={"Dog": "dog"}).find("Dog") == "dog"


def test_names_that_fit_no_class_are_listed() -> None:
    found = fit(["Dog", "dog", "sky", "cat", "ant"], KNOWN)
    assert found.lost == ["ant", "cat"] and found.guessed == {"Dog": "dog"}
    assert found.class_of == {"Dog": "dog", "dog": "dog", "sky": LEFT_OUT}


names = st.text(min_size=1, max_size=8)


@given(st.lists(names, min_size=1, max_size=6, unique=True), st.dictionaries(names, names, max_size=3), names)
def test_it_survives_its_record_and_every_class_is_itself(listed: list[str], others: dict[str, str], name: str) -> None:
    classes = Classes(tuple(listed), {key: value for key, value in others.items() if key not in listed})
    assert Classes.from_json(classes.to_json()) == classes
    assert [classes.find(one) for one in listed] == listed
    assert classes.find(name) in {None, *listed, *others.values()}
