"""Files with the names of classes, and what becomes of the tags of a listing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irnet_ray.classes import Classes
from irnet_ray.commands.inspect import inspect
from irnet_ray.errors import UserError
from irnet_ray.inputs.classes_file import apply, read_classes
from irnet_ray.inputs.listing import Listed, Listing
from tests.inputs.formats import tagged

COCO = {"categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}], "images": []}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "dog\ncat\n"),
        ("obj.names", "\ufeffdog \r\n\r\n cat\r\n"),
        ("classes.csv", "class\ndog\ncat\n"),
        ("classes.csv", "dog\ncat\n"),
        ("classes.tsv", "name\tsynonyms\ndog\t\ncat\t\n"),
        ("classes.json", '["dog", "cat"]'),
        ("instances.json", json.dumps(COCO)),
        ("data.yaml", "path: .\nnc: 2\nnames:\n  - dog\n  - cat\n"),
        ("data.yml", "names: {1: cat, 0: dog}\n"),
    ],
)
def test_lists_of_classes(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, newline="")
    assert read_classes(tmp_path / name, None) == Classes(("dog", "cat"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("synonyms.csv", "spelling,class\nDog,dog\nhound,dog\nsky,\n"),
        ("synonyms.csv", "Dog;dog\nhound;dog\nsky;\n"),
        ("synonyms.json", '{"Dog": "dog", "hound": "dog", "sky": null}'),
        ("synonyms.csv", "spelling;class\nDog;dog\nhound;dog\nsky;\n"),
    ],
)
def test_spellings(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_classes(None, tmp_path / name) == Classes((), {"Dog": "dog", "hound": "dog", "sky": ""})


def test_spellings_in_the_list_itself(tmp_path: Path) -> None:
    (tmp_path / "classes.csv").write_text('class,synonyms\ndog,Dog;hound\n"tench, Tinca",\n')
    known = read_classes(tmp_path / "classes.csv", None)
    assert known == Classes(("dog", "tench, Tinca"), {"Dog": "dog", "hound": "dog"})
    (tmp_path / "more.csv").write_text("Hund,dog\n")
    both = read_classes(tmp_path / "classes.csv", tmp_path / "more.csv")
    assert both.synonyms == {"Dog": "dog", "hound": "dog", "Hund": "dog"}


@pytest.mark.parametrize("content", ["class,synonyms\ndog,Dog;hound\ncat,\n", "name,alias\ndog,Dog\ndog,hound\n"])
def test_a_table_of_spellings_may_name_the_class_first(tmp_path: Path, content: str) -> None:
    (tmp_path / "synonyms.csv").write_text(content)
    assert read_classes(None, tmp_path / "synonyms.csv").synonyms == {"Dog": "dog", "hound": "dog"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("classes.csv", "id,name\n1,dog\n", "has the columns id, name"),
        ("classes.csv", "class,description\ndog,it barks\n", "has the columns class, description"),
        ("classes.csv", "0,dog\n1,cat\n", r"has a number beside a name \(0, dog\)"),
        ("classes.csv", "dog,18\ncat,17\n", r"has a number beside a name \(dog, 18\)"),
        ("data.yaml", "path: .\ntrain: images\n", "holds no list `names`"),
        ("data.yaml", "names: {0: dog, 2: cat}\n", "has an empty name"),
        ("synonyms.csv", "spelling,id\nhound,18\n", "has the columns spelling, id"),
        ("synonyms.json", "{}", "holds no spelling"),
        ("synonyms.json", '{" ": "dog"}', "holds an empty spelling"),
    ],
)
def test_a_table_of_something_else_is_no_list(tmp_path: Path, name: str, content: str, said: str) -> None:
    """Else ids would be the classes, and names other spellings of them."""
    (tmp_path / name).write_text(content)
    paths = (None, tmp_path / name) if name.startswith("synonyms") else (tmp_path / name, None)
    with pytest.raises(UserError, match=said):
        read_classes(*paths)


def test_a_header_tells_that_numbers_are_names(tmp_path: Path) -> None:
    (tmp_path / "digits.csv").write_text("class,synonyms\n1,one\n0,zero\n")
    assert read_classes(tmp_path / "digits.csv", None) == Classes(("1", "0"), {"one": "1", "zero": "0"})
    (tmp_path / "digits.csv").write_text("1\n0\n")
    assert read_classes(tmp_path / "digits.csv", None).names == ("1", "0")


def test_what_is_not_given_stays_as_it_was(tmp_path: Path) -> None:
    before = Classes(("dog", "cat"), {"hound": "dog", "Katze": "cat"})
    (tmp_path / "classes.txt").write_text("dog\nhorse\n")
    (tmp_path / "synonyms.csv").write_text("Hund,dog\n")
    assert read_classes(None, None, before) == before
    assert read_classes(tmp_path / "classes.txt", None, before) == Classes(("dog", "horse"), {"hound": "dog"})
    assert read_classes(None, tmp_path / "synonyms.csv", before) == Classes(("dog", "cat"), {"Hund": "dog"})


@pytest.mark.parametrize(
    ("classes", "synonyms", "said"),
    [
        ("", None, "names no class"),
        ("dog\ndog\n", None, "names dog twice"),
        ("dog\n", "cat,kitten\n", "names the class 'kitten', which is not in the list"),
        ("dog\n", "hound,dgo\n", "not in the list; the nearest to dgo is dog"),
        ("dog\ncat\n", "dog,cat\n", "makes 'dog' a spelling of 'cat', and it is a class itself"),
        ("dog\ncat\n", "pet,cat\npet,dog\n", "makes 'pet' a spelling of 'cat' and of 'dog'"),
        (None, "a,b\nb,c\n", "makes 'b' a class, and a spelling of 'c'"),
        (None, "a,b,c\n", "has 3 values in a row"),
        (None, ",b\n", "has a row without a name"),
        (None, "", "holds no spelling"),
    ],
)
def test_files_that_a_person_should_mend(tmp_path: Path, classes: str | None, synonyms: str | None, said: str) -> None:
    paths = []
    for name, content in (("classes.txt", classes), ("synonyms.csv", synonyms)):
        if content is not None:
            (tmp_path / name).write_text(content)
        paths.append(None if content is None else tmp_path / name)
    with pytest.raises(UserError, match=said) as caught:
        read_classes(*paths)
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff", b"[1]", b"{", b"[" * 9000, b'{"categories": [{}]}', b"[]", b"7", b'[""]'])
@pytest.mark.parametrize("name", ["classes.json", "classes.txt", "classes.csv"])
def test_any_bytes_are_read_or_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    for paths in ((tmp_path / name, None), (None, tmp_path / name)):
        try:
            found = read_classes(*paths)
        except UserError as error:
            assert str(tmp_path / name) in str(error)
        else:
            assert found.names or found.synonyms
    with pytest.raises(UserError, match="does not exist"):
        read_classes(tmp_path / "absent.txt", None)


def listing(*tags: list[str], unknown: tuple[str, ...] = (), **named: object) -> Listing:
    images = [Listed(str(number), some, f"/{number}", unknown=unknown) for number, some in enumerate(tags)]
    return Listing(images, len(images), **named)  # type: ignore[arg-type]


def test_tags_become_the_classes_that_they_stand_for() -> None:
    known = Classes(("dog", "cat", "cow"), {"hound": "dog", "sky": ""})
    found = apply(listing(["hound", "Dog", "sky"], ["cats"], unknown=("cow", "Cat", "emu")), known, "here")
    assert [(image.tags, image.unknown) for image in found.images] == [(["dog"], ("cow", "cat")), (["cat"], ("cow",))]
    assert found.notes == [
        "1 tag taken as a class by synonyms: hound is dog",
        "3 tags taken as a class by spelling: Cat is cat, Dog is dog, cats is cat",
        "1 tag of 1 image left out by the synonyms (sky)",
        "1 of 3 classes have no image and get no masks (cow)",
    ]


def test_a_tag_that_is_not_in_the_list_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        UserError, match=r"here has 2 tags not in the list of classes \(cow, dgo; the nearest to dgo is dog\)"
    ):
        apply(listing(["dgo"], ["cow"]), Classes(("emu", "dog")), "here")


def test_ids_of_categories_follow_their_classes() -> None:
    ids = {"Dog": 18, "hound": 19, "sky": 1, "Boot": 7}
    found = apply(listing(["Dog"], category_ids=ids), Classes(("dog",), {"hound": "dog", "sky": ""}), "here")
    assert found.category_ids == {"dog": 18, "Boot": 7}


@given(st.lists(st.lists(st.sampled_from("abAB"), unique=True), min_size=1))
def test_no_image_is_lost_and_every_tag_is_a_class(tags: list[list[str]]) -> None:
    found = apply(listing(*tags), Classes(("a", "b")), "here")
    assert [image.tags for image in found.images] == [list(dict.fromkeys(t.lower() for t in some)) for some in tags]


def test_inspect_shows_the_tags_as_classes(tmp_path: Path) -> None:
    data = tagged(tmp_path, ["a.png", "b.png"], "a.png,Dog\nb.png,\n")
    (tmp_path / "classes.names").write_text("cat\ndog\n")
    found = inspect(data, classes=tmp_path / "classes.names")
    assert found.reading.table["tags"].to_pylist() == [["dog"], []]
    assert "note     1 tag taken as a class by spelling: Dog is dog" in found.lines()
