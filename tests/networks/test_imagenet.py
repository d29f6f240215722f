"""Classes of ImageNet by the names that a data set may use. The numbers are those of the published lists."""

from __future__ import annotations

import pytest

pytest.importorskip("timm")

from timm.data import ImageNetInfo

from irnet_ray.networks.imagenet import class_indices, names_of


@pytest.mark.parametrize(
    ("tag", "index"),
    [
        ("n01440764", 0),
        ("tench", 0),
        ("tench, Tinca tinca", 0),
        ("Tinca tinca", 0),
        ("TINCA_TINCA", 0),
        ("golden retriever", 207),
        ("Golden_Retriever", 207),
        ("n02012849", 134),
        ("crane (n02012849)", 134),
        ("crane (n03126707)", 517),
        ("crane", None),  # the bird and the machine
        ("maillot", 638),
        ("maillot, tank suit", 639),
        ("Cardigan", 264),  # the dog
        ("cardigan", 474),  # the jacket
        ("toilet tissue", 999),
        ("dog", None),
        ("person", None),
        ("", None),
        ("n00000000", None),
    ],
)
def test_ways_to_name_a_class(tag: str, index: int | None) -> None:
    assert class_indices([tag]) == {tag: index}


def test_every_class_is_known_by_its_id_and_its_synonyms() -> None:
    info = ImageNetInfo("imagenet-1k")
    assert list(class_indices(info.label_names()).values()) == list(range(1000))
    unknown = [name for name, index in class_indices(info.label_descriptions()).items() if index is None]
    assert unknown == ["crane"]


def test_names_of_wordnet_ids() -> None:
    tags = ["n02108422", "n01440764", "n02012849", "n03126707", "cat", "n99999999", "n0144076"]
    assert names_of(tags) == {
        "n02108422": "bull mastiff",
        "n01440764": "tench",
        "n02012849": "crane (n02012849)",
        "n03126707": "crane (n03126707)",
    }
    assert names_of(["cat", "dog"]) == {}
