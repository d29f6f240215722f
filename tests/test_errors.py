"""Error messages for users."""

from __future__ import annotations

import pytest

from irnet_ray.errors import UserError, misplaced, printable, reading, reason


def test_a_sentence_cannot_control_the_terminal() -> None:
    assert printable("a\x1b[2J\n\udcff é") == "a\\x1b[2J\\n\\udcff é"
    assert str(UserError("a\nb")) == "a\\nb"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "/a"), "No such file or directory"),
        (OSError("Unable to load libjvm\ndlopen(/usr/lib/jvm) failed"), "Unable to load libjvm"),
        (ValueError("\n  two   spaces. "), "two spaces"),
        (KeyError(), "KeyError"),
        (OSError(" "), "OSError"),
    ],
)
def test_a_reason_is_one_line(error: Exception, said: str) -> None:
    assert reason(error) == said


def test_any_error_of_a_reader_means_a_damaged_file() -> None:
    with pytest.raises(UserError, match=r"^/a is damaged \(no such column\): delete it and run"), reading("/a"):
        raise ValueError("no such column.\nmore")
    with pytest.raises(FileNotFoundError), reading("/a"):
        raise FileNotFoundError(2, "No such file")
    with pytest.raises(UserError, match="^said before$"), reading("/a"):
        raise UserError("said before")
    assert "/a does not hold just the images of its shard" in str(misplaced("/a"))
