"""Accounts add up, and keep a few names of each reason."""

from __future__ import annotations

from irnet_ray.inputs.listing import EXAMPLES, Account, LeftOut, Listed, Listing, joined


def left_out(**numbers: int) -> LeftOut:
    found = LeftOut()
    for reason, number in numbers.items():
        for place in range(number):
            found.add(reason, f"{reason}{place}")
    return found


def test_reasons_are_counted_with_the_first_names() -> None:
    found = left_out(hidden=5, odd=1)
    assert found.total == 6 and found.counts == {"hidden": 5, "odd": 1}
    assert found.examples == {"hidden": ["hidden0", "hidden1", "hidden2"], "odd": ["odd0"]} and EXAMPLES == 3


def test_listings_of_several_tars_are_one() -> None:
    one = Listing([Listed("a", [], "a")], 3, left_out(hidden=2), ["guess"], "entry")
    other = Listing([Listed("b", [], "b")], 4, left_out(hidden=2, odd=1), ["guess"], "entry")
    both = joined([one, other], "entry")
    assert [image.image_id for image in both.images] == ["a", "b"] and both.notes == ["guess"] and both.seen == 7
    assert both.left_out.counts == {"hidden": 4, "odd": 1}
    assert both.left_out.examples["hidden"] == ["hidden0", "hidden1", "hidden0"]
    assert one.left_out.examples["hidden"] == ["hidden0", "hidden1"]  # as it was


def test_an_account_for_the_report() -> None:
    account = Account(7, 4, left_out(odd=1, hidden=2), "row")
    assert account.to_json() == {
        "unit": "row",
        "seen": 7,
        "images": 4,
        "left_out": [
            {"reason": "hidden", "files": 2, "examples": ["hidden0", "hidden1"]},
            {"reason": "odd", "files": 1, "examples": ["odd0"]},
        ],
    }
