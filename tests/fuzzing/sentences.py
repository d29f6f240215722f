"""What foreign bytes may end in: a result, or one sentence for the person at the terminal. And ways to damage bytes."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from irnet_ray.errors import UserError

Result = TypeVar("Result")

# Examples write small files, each under a name of its own folder, so the function's fixtures may be shared.
FUZZ = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))


def outcome(read: Callable[[], Result]) -> Result | None:
    """The result, or None where it was refused in a sentence; any other exception is the test's failure."""
    try:
        return read()
    except UserError as error:
        assert is_sentence(str(error)), error
        return None


def is_sentence(text: str) -> bool:
    """Whether a refusal is one printable line that can be read and ends."""
    return text.isprintable() and 10 < len(text) < 4000 and text.endswith((".", ". "))


def write(path: Path, data: bytes) -> Path:
    """The file with other content, replaced as a new one: readers may have the old one mapped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("next.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
    return path


def flipped(data: bytes, rng: random.Random) -> bytes:
    """One bit is another."""
    changed = bytearray(data)
    if changed:
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flipped_page(data: bytes, rng: random.Random) -> bytes:
    """One bit of a Parquet file's pages is another. The footer, at the end, bears no checksum."""
    pages = max(0, len(data) - 8 - int.from_bytes(data[-8:-4], "little"))
    return flipped(data[:pages], rng) + data[pages:]


def truncated(data: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data) + 1)]


def overwritten(data: bytes, rng: random.Random) -> bytes:
    """A stretch holds zeros, as after a power cut, or noise."""
    at, size = rng.randrange(len(data) + 1), rng.randrange(1, 64)
    stretch = bytes(size) if rng.random() < 0.5 else rng.randbytes(size)
    return (data[:at] + stretch + data[at + size :])[: len(data)]


def doubled(data: bytes, rng: random.Random) -> bytes:
    """A stretch comes twice."""
    start = rng.randrange(len(data) + 1)
    end = rng.randrange(start, len(data) + 1)
    return data[:end] + data[start:]


DAMAGES = (flipped, truncated, overwritten, doubled)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file after one to three damages."""
    rng = draw(st.randoms(use_true_random=False))
    for damage in draw(st.lists(st.sampled_from(DAMAGES), min_size=1, max_size=3)):
        whole = damage(whole, rng)
    return whole
