"""Splits by a hash of the id: stable, of the asked size, and refused in a sentence where the shares are wrong."""

from __future__ import annotations

import pytest

from irnet_ray.errors import UserError
from irnet_ray.exports.splits import DEFAULT, parse, split_of

IDS = [f"{number}.jpg" for number in range(5_000)]


@pytest.mark.parametrize(
    "shares", [DEFAULT, {"train": 0.8, "val": 0.1, "test": 0.1}, {"test": 0.7, "train": 0.3}, {"val": 1.0}]
)
def test_shares_are_kept(shares: dict[str, float]) -> None:
    splits = [split_of(image_id, shares) for image_id in IDS]
    for name, share in shares.items():
        assert abs(splits.count(name) / len(IDS) - share) < 0.02
    assert set(splits) == shares.keys()


def test_a_test_split_takes_its_images_from_train_alone() -> None:
    before = [split_of(image_id, DEFAULT) for image_id in IDS]
    after = [split_of(image_id, parse("train=0.8,val=0.1,test=0.1")) for image_id in IDS]
    assert set(zip(before, after, strict=True)) == {("val", "val"), ("train", "train"), ("train", "test")}


def test_known_ids_stay_where_they_were() -> None:
    shares = parse("train=0.5,val=0.3,test=0.2")
    assert [split_of(name, shares) for name in IDS[:8]] == [
        "test",
        "train",
        "test",
        "train",
        "test",
        "train",
        "val",
        "train",
    ]


def test_shares_are_read_in_any_order_and_with_spaces() -> None:
    assert list(parse(" test = 0.1, val=0.1 ,train=.8").items()) == [("train", 0.8), ("val", 0.1), ("test", 0.1)]
    assert parse("train=1") == {"train": 1.0}
    assert parse(",".join(f"{name}={1 / 3:.7f}" for name in ("train", "val", "test")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' has no share"),
        ("0.8,0.2", "'0.8' has no share"),
        ("train=0.8,val=0.1", "the shares sum to 0.9, not to 1"),
        ("train=80,val=20", "the share of train must be above 0 and at most 1"),
        ("train=1,val=0", "the share of val must be above 0 and at most 1"),
        ("train=nan,val=0.5", "the share of train must be above 0 and at most 1"),
        ("train=a,val=0.5", "'a' is not a number"),
        ("train=0.9,valid=0.1", "the splits are train, val and test, not 'valid'"),
        ("train=0.5,train=0.5", "train is named twice"),
    ],
)
def test_wrong_shares_are_refused_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UserError) as wrong:
        parse(text)
    assert str(wrong.value) == f"--split must be like train=0.8,val=0.1,test=0.1, got {text!r}: {said}."
