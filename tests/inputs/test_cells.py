"""Several tags in a cell: lists as text, separators that are found, and those that are refused."""

from __future__ import annotations

import pytest

from irnet_ray.errors import UserError
from irnet_ray.inputs.cells import several, split_cells
from irnet_ray.inputs.tags import clean


def split(*cells: str, separator: str | None = None) -> list[list[str]]:
    return [clean(tags) for tags in split_cells("tags.csv", cells, separator)[0]]


@pytest.mark.parametrize(
    "text",
    [
        '["dog", "cat"]',
        "['dog', 'cat']",
        "('dog', 'cat',)",
        "{'dog', 'cat'}",
        "[dog, cat]",
        "['dog' 'cat']",
        "['dog'\n 'cat']",
        "[\"dog\", 'cat']",
        " [ 'dog','cat' ] ",
        "['dog', \"cat\"]",
        "array(['dog', 'cat'], dtype=object)",
        "np.array(['dog', 'cat'], dtype='<U3')",
        "array(['dog', None, 'cat'])",
        "[np.str_('dog'), np.str_('cat')]",
        "['dog', nan, 'cat']",
        '["dog", null, "cat"]',
        "frozenset({'dog', 'cat'})",
        "{dog,cat}",
        '"dog", "cat"',
        "'dog' 'cat'",
    ],
)
def test_lists_as_text(text: str) -> None:
    tags, notes = split_cells("tags.csv", [text, "[]", "cow"])
    assert [clean(some) for some in tags] == [["dog", "cat"], [], ["cow"]]
    assert notes == ["2 cells with a list as text"]


@pytest.mark.parametrize(
    "text", ["(none)", "[sic", "'s-Hertogenbosch", "array", "dog [big]", "[[1]]", "['a'] and ['b']"]
)
def test_brackets_that_are_no_list(text: str) -> None:
    assert split(text, "cow") == [[text], ["cow"]]


@pytest.mark.parametrize("text", ["[]", "{}", "()", "set()", "array([], dtype=object)", "[None]", "[nan]", "[null]"])
def test_lists_without_a_tag(text: str) -> None:
    assert split(text, "cow") == [[], ["cow"]]


def test_quotes_inside_of_names() -> None:
    assert split('["bird\'s nest", "a \\"b\\""]', "['bird\\'s nest', 'tench, fish']") == [
        ["bird's nest", 'a "b"'],
        ["bird's nest", "tench, fish"],
    ]


@pytest.mark.parametrize("mark", [",", "|", "\n", "\t", "、", "，", "；"])
@pytest.mark.parametrize(
    "cells",
    [
        ["dog,cat", "dog", "cat", "dog, cat"],
        ["dog,cat", "cat, bird", "bird,dog"],
        ["dog,cat,rare", "dog", "cat"],
        ["dog,", "cat,", "dog,cat"],
    ],
)
def test_a_separator_whose_parts_are_tags_elsewhere(mark: str, cells: list[str]) -> None:
    cells = [cell.replace(",", mark) for cell in cells]
    tags, notes = split_cells("tags.csv", cells)
    assert [clean(some) for some in tags] == [[part.strip() for part in cell.split(mark) if part] for cell in cells]
    assert len(notes) == 1 and notes[0].startswith("tags are separated by ")


@pytest.mark.parametrize(
    ("cells", "option"),
    [
        (["tench, Tinca tinca", "goldfish, Carassius auratus"], "','"),
        (["dog|cat", "cow"], "'|'"),
        (["London, UK", "Paris, UK"], "','"),
        (["red car", "blue car", "red bus", "blue bus"], "space"),
        (["haze primary", "clear primary", "haze water", "clear water"], "space"),
        (["dog/cat", "dog", "cat", "cow/dog", "cow"], "'/'"),
        (["dog\ncat", "cow"], r"'\\n'"),
    ],
)
def test_what_is_ambiguous_is_refused_with_the_choice(cells: list[str], option: str) -> None:
    with pytest.raises(UserError, match=f"ambiguous .*--separator {option} for several, or --separator none"):
        split(*cells)
    mark = option.strip("'").replace("\\\\", "\\")
    assert split(*cells, separator="none") == [[cell] for cell in cells]
    assert len(split(*cells, separator=mark)[0]) == 2


def test_names_of_several_words_are_one_tag() -> None:
    names = ["traffic light", "stop sign", "hot dog", "dog", "teddy bear", "bear", "wine glass", "black & white"]
    assert split(*names) == [[name] for name in names]


def test_cells_without_a_value_are_no_tags() -> None:
    tags, notes = split_cells("t", ["dog", "NaN", "None", "", "n/a", "<NA>", "nano"], None)
    assert tags == [["dog"], [], [], [""], [], [], ["nano"]]
    assert notes == [
        "4 cells with NaN, None, n/a and 1 more: taken as an image without tags; --separator none makes it a tag"
    ]
    assert split("None", "dog", separator="none") == [["None"], ["dog"]]


@pytest.mark.parametrize("mark", ["/", "+", " & ", " ", ":", "-", " - ", "_", ".", "\\", " and "])
def test_a_rare_separator_between_tags_that_occur_elsewhere_is_ambiguous(mark: str) -> None:
    with pytest.raises(UserError, match="ambiguous"):
        split("dog", "cat", f"dog{mark}cat")
    assert split("dog", f"dog{mark}house") == [["dog"], [f"dog{mark}house"]]


def test_names_that_share_words_are_one_tag() -> None:
    names = ["Apple_rot", "Apple_healthy", "Corn_rot", "Corn_healthy", "T-shirt", "St. Bernard"]
    assert split(*names) == [[name] for name in names]


def test_several_tags_of_the_same_data() -> None:
    assert several(["dog", "cat", "dog/cat", "hot dog"]) == ["dog/cat"]
    assert several(["sea", "lion", "sea lion", "hot dog", "stop sign"]) == []  # most names with a space are one tag


def test_the_documented_separator_wins() -> None:
    assert split("dog;cat", "a, b", "x|y") == [["dog", "cat"], ["a, b"], ["x|y"]]
    assert split("dog;cat", separator="none") == [["dog;cat"]]
    assert split("dog;cat,cow", separator=",") == [["dog;cat", "cow"]]


def test_lists_of_a_table_are_taken_as_they_are() -> None:
    assert split_cells("t", [["a, b", "c"], []], None) == ([["a, b", "c"], []], [])
