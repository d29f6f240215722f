"""Each suspicion finds what it is for, and keeps quiet where all is well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.listing import NO_TAGS, LeftOut
from irnet_ray.inputs.overview import Overview
from irnet_ray.inputs.suspicions import FEW, SUSPICIONS, check, find
from tests.inputs.readings import overview

DOCS = Path(__file__).parents[2] / "docs" / "inputs.md"
DOG, CAT, BOTH = ["dog"], ["cat"], ["dog", "cat"]


def untagged(*names: str) -> LeftOut:
    left = LeftOut()
    for name in names:
        left.add(NO_TAGS, name)
    return left


def repeated(*tags: list[str], times: int = FEW) -> Overview:
    """Each of these lists of tags on `times` images."""
    return overview(*(names for names in tags for _ in range(times)))


CASES: dict[str, list[tuple[Overview, list[str]]]] = {
    "untagged": [
        (overview(DOG, CAT, left_out=untagged("a.png", "b.png")), ["2: a.png, b.png"]),
        (overview(DOG, []), []),
    ],
    "folder-names": [
        (overview(["images"], ["masks"], format="class folders"), ["images", "masks"]),
        (overview(["images"], ["masks"]), []),  # somebody wrote these tags
        (overview(DOG, ["Train"], format="class folders"), ["Train"]),
        (overview(["mask"], ["no mask"], format="class folders"), []),  # faces
        (overview(["image"], ["label"], format="class folders"), ["image", "label"]),
        (overview(DOG, CAT, format="class folders"), []),
    ],
    "captions": [
        (overview(["a red blob", "on the grass"], ["my blue box"]), ["a red blob", "my blue box", "on the grass"]),
        (overview(*([f"id-{n}"] for n in range(20))), [f"id-{n}" for n in sorted(range(20), key=str)]),
        (overview(DOG, CAT), []),  # few images, but tags
        (overview(*([f"tag {n % 12}"] for n in range(24))), []),
    ],
    "separators": [
        (overview(["dog,cat"], DOG, CAT, ["dog, cat"]), ['"dog, cat"', '"dog,cat"']),
        (overview(["dog|cat"], ["cat|ape"], ["ape"]), ['"cat|ape"', '"dog|cat"']),
        (overview(["['dog', 'cat']"], DOG), ["\"['dog', 'cat']\""]),
        (overview(["crane, bird"], ["tench, Tinca tinca"], DOG), []),  # synonyms
        (overview(["maillot"], ["maillot, tank suit"], *([f"{n}"] for n in range(20))), []),
        (overview(["dog/cat"], DOG, CAT), ['"dog/cat"']),
        (overview(["dog and cat"], DOG, CAT), ['"dog and cat"']),
        (overview(["black-and-white cat"], ["R&B"], ["AC/DC"]), []),
    ],
    "no-absence": [
        (overview(DOG, DOG), ["dog"]),
        (overview(BOTH, BOTH), ["cat", "dog"]),
        (overview(DOG, CAT, unknown=[["cat"], ["dog"]]), ["cat", "dog"]),
        (overview(DOG, []), []),
        (overview(BOTH, DOG), []),
    ],
    "on-every-image": [
        (overview(BOTH, DOG), ["dog"]),
        (overview(DOG, DOG), []),  # "no-absence"
        (overview(DOG, CAT), []),
    ],
    "spellings": [
        (overview(["Dog"], DOG, DOG, ["dogs"]), ["dog 2 / Dog 1 / dogs 1"]),
        (
            overview(["traffic light"], ["traffic_light"], ["Traffic-Lights"]),
            ["Traffic-Lights 1 / traffic light 1 / traffic_light 1"],
        ),
        (overview(["berry"], ["berries"], ["box"], ["boxes"]), ["berries 1 / berry 1", "box 1 / boxes 1"]),
        (overview(["bus"], ["boat"], ["glass"], ["grass"]), []),
    ],
    "always-together": [
        (repeated(["animal", "horse"], ["animal"], CAT), ["animal with each horse"]),
        (repeated(["animal", "horse"], CAT), ["animal with each horse"]),
        (repeated(["photo", "dog"], ["photo", "cat"]), []),  # "on-every-image"
        (overview(["animal", "horse"], ["animal"], CAT), []),  # too few to say
        (repeated(BOTH, DOG, CAT), []),
    ],
    "few-images": [
        (repeated(DOG, times=FEW - 1), [f"dog {FEW - 1}"]),
        (repeated(DOG), []),
    ],
    "duplicates": [
        (overview(DOG, DOG, CAT, contents=["x", "x", "y"]), ["00 = 01"]),
        (overview(DOG, BOTH, CAT, contents=["x", "x", "x"]), ["00 = 01 = 02 with other tags"]),
        (overview(DOG, CAT, contents=[None, None]), []),
    ],
}


@pytest.mark.parametrize(("name", "number"), [(name, n) for name, cases in CASES.items() for n in range(len(cases))])
def test_a_suspicion_has_these_cases(name: str, number: int) -> None:
    data, cases = CASES[name][number]
    assert list(SUSPICIONS[name].find(data)) == cases


def test_every_suspicion_is_tested_and_says_what_to_do() -> None:
    assert CASES.keys() == SUSPICIONS.keys()
    for name, cases in CASES.items():
        data = cases[0][0]
        (found,) = (one for one in find(data) if one.kind.name == name)
        assert SUSPICIONS[name].do in found.sentence() and cases[0][1][0] in found.sentence()
        assert found.to_json()["severity"] in ("stop", "warning")


def test_the_docs_list_them_in_their_order() -> None:
    rows = re.findall(r"^\| `([a-z-]+)`( \*)? \| (stops|warns) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [
        (kind.name, " *" if kind.of_training else "", "stops" if kind.severity == "stop" else "warns")
        for kind in SUSPICIONS.values()
    ]


def test_nothing_is_found_in_a_data_set_in_order() -> None:
    assert find(repeated(DOG, CAT, BOTH, [])) == []


def test_a_stop_is_an_error_until_it_is_accepted() -> None:
    found = find(overview(["a red blob"], ["my blue box"], ["Dog"], left_out=untagged("x.png")))
    with pytest.raises(
        UserError, match=r"files without tags \(1: x.png\): .* --accept untagged \(1 more reason to stop"
    ):
        check(found, [])
    with pytest.raises(UserError, match="most tags occur once"):
        check(found, ["untagged"])
    check(found, ["captions", "untagged"])
    check(find(overview(["Dog"], DOG)), [])  # warnings stop nothing
    with pytest.raises(UserError, match="No suspicion 'all' to accept: there are untagged, "):
        check([], ["all"])


def test_a_name_that_orders_the_terminal_is_escaped() -> None:
    (found,) = (one for one in find(overview(["\x1b[2J"], ["\x1b[2J"])) if one.kind.name == "no-absence")
    assert found.sentence().isprintable() and "\\x1b[2J" in found.sentence()
