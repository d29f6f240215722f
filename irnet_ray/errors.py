"""The one exception for bad input, and how text from outside is shown in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


def printable(text: str) -> str:
    """Text on one line that cannot control the terminal: what is not printable is escaped as Python escapes it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class UserError(Exception):
    """Bad input, said in one sentence: what is wrong, where, and what to do. The command exits with 2.

    The sentence may contain names of files and tags, which can hold anything: line breaks, escape sequences, bytes in
    no encoding.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


def reason(error: BaseException) -> str:
    """What the operating system, a library or an object store says about an error, for use inside a sentence.

    Only the first line: some libraries append a list of everything they tried.
    """
    said = (getattr(error, "strerror", None) or str(error)).strip() or type(error).__name__
    return " ".join(said.splitlines()[0].split()).rstrip(".")


@contextmanager
def reading(file: str) -> Iterator[None]:
    """Turn any failure to read a file of a run into one sentence that says it is damaged and what to do: UserError.

    A missing file stays a FileNotFoundError.
    """
    try:
        yield
    except (UserError, FileNotFoundError):
        raise
    except Exception as error:  # Arrow alone raises a dozen kinds, OSError, ValueError and KeyError among them
        raise UserError(f"{file} is damaged ({reason(error)}): {AGAIN}") from error


def misplaced(file: str) -> UserError:
    """The error for a readable part of a table that holds images of another shard, or lacks some of its own."""
    return UserError(f"{file} does not hold just the images of its shard: {AGAIN}")


AGAIN = "delete it and run the same command again, which recreates what is missing."
