"""The one exception for mistakes of the person at the terminal, and how foreign text is shown to them."""


def printable(text: str) -> str:
    """Text on one line and without orders to the terminal: what cannot be printed is escaped as Python does."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class UserError(Exception):
    """Bad input, said in one sentence: what was wrong, where, and what to do. The command exits with 2.

    Names of files and tags in the sentence may hold anything: line breaks, escape sequences, bytes of no encoding.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))
