"""Tables that are aligned and keep to a width, and the small forms of counts, sizes, durations and names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from irnet_ray import text

CELLS = st.text(st.characters(codec="utf-8"), max_size=8)


def test_the_first_column_is_aligned_to_the_left_and_the_others_to_the_right() -> None:
    assert text.table([["class", "images", "AP"], ["cat", "1,000", ""], ["dog", "7", "0.5"]]) == [
        "class  images   AP",
        "cat     1,000",
        "dog         7  0.5",
    ]


def test_columns_may_be_aligned_to_the_left() -> None:
    rows = [["", "id", "images", "made by"], ["*", "0123", "7", "0.5.4"]]
    assert text.table(rows, left=(0, 1, 3)) == ["   id    images  made by", "*  0123       7  0.5.4"]


def test_cells_of_the_first_column_are_cut_to_keep_to_the_width() -> None:
    rows = [["class", "images"], ["hot air balloon", "7"]]
    assert text.table(rows, width=18) == ["class       images", "hot air...       7"]
    assert text.table(rows, width=23) == text.table(rows) == ["class            images", "hot air balloon       7"]


def test_a_cell_cannot_control_the_terminal() -> None:
    assert text.table([["a", "n"], ["\x1b[2J\n", "1"]]) == ["a" + " " * 10 + "n", "\\x1b[2J\\n  1"]


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_every_table_is_a_line_for_each_row_of_at_most_one_length(rows: list[list[str]]) -> None:
    lines = text.table(rows)
    assert len(lines) == len(rows) and all(line.isprintable() for line in lines)
    columns = zip(*([len(c.encode("unicode_escape")) for c in row] for row in rows), strict=True)
    assert max(map(len, lines)) <= sum(map(max, columns)) + 2 * (len(rows[0]) - 1)


@pytest.mark.parametrize(("number", "said"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (12_345, "12,345 files")])
def test_counts(number: int, said: str) -> None:
    assert text.count(number, "file") == said


def test_names_are_few() -> None:
    assert text.names(["a", "b", "c"]) == "a, b, c"
    assert text.names(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert text.names(["x"] * 2002, 2) == "x, x and 2,000 more"
    assert text.names([]) == ""


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_250_000, "1.2 MB"), (5e9, "5.0 GB"), (2.5e15, "2500.0 TB")],
)
def test_sizes_are_decimal(number: float, said: str) -> None:
    assert text.bytes_text(number) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0:00"), (5.9, "0:06"), (65, "1:05"), (3599.6, "1:00:00"), (7325, "2:02:05")]
)
def test_durations(seconds: float, said: str) -> None:
    assert text.duration(seconds) == said


def test_a_name_is_one_line() -> None:
    assert text.one_line(" alarm\n\tclock\x1b ") == "alarm clock\\x1b"


def test_a_text_is_cut_only_if_it_is_longer() -> None:
    assert (text.cut("abcdef", 6), text.cut("abcdefg", 6)) == ("abcdef", "abc...")
