"""The one exception for mistakes of the person at the terminal."""


class UserError(Exception):
    """Bad input, said in one sentence: what was wrong, where, and what to do. The command exits with 2."""
