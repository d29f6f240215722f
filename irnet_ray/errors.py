"""The one exception for mistakes of the person at the terminal, and how foreign text is shown to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def printable(text: str) -> str:
    """Text on one line and without orders to the terminal: what cannot be printed is escaped as Python does."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class UserError(Exception):
    """Bad input, said in one sentence: what was wrong, where, and what to do. The command exits with 2.

    Names of files and tags in the sentence may hold anything: line breaks, escape sequences, bytes of no encoding.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Say in one sentence that a file of a run is damaged, and what to do, whatever its reader meets.

    A missing file stays a FileNotFoundError.
    """
    try:
        yield
    except (UserError, FileNotFoundError):
        raise
    except Exception as error:  # Arrow's are of a dozen kinds, OSError, ValueError and KeyError among them
        why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UserError(f"{file} is damaged ({why}): {AGAIN}") from error


def misplaced(file: str) -> UserError:
    """What to say of a part of a table that is whole, but not that of its shard."""
    return UserError(f"{file} does not hold just the images of its shard: {AGAIN}")


AGAIN = "delete it and run the same command again, which makes anew what is missing."
