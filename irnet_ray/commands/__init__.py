"""One file per command: what it does, in Python."""
