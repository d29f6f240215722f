"""The allowed outcomes of unknown bytes, a result or one sentence for the user, and ways to damage bytes."""

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

# Examples overwrite their small files, so they may share the fixtures of a test function.
FUZZ = settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))


def outcome(read: Callable[[], Result]) -> Result | None:
    """The result, or None if it was refused with a sentence. Any other exception fails the test."""
    try:
        return read()
    except UserError as error:
        assert is_sentence(str(error)), error
        return None


def is_sentence(text: str) -> bool:
    """Whether a refusal is one printable line of a sensible length that ends with a full stop."""
    return text.isprintable() and 10 < len(text) < 4000 and text.endswith((".", ". "))


def write(path: Path, data: bytes) -> Path:
    """Replace a file with a new one: readers may have mapped the old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("next.tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)
    return path


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Flip one bit."""
    changed = bytearray(data)
    if changed:
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flipped_page(data: bytes, rng: random.Random) -> bytes:
    """Flip one bit in the pages of a Parquet file. Its footer, at the end, has no checksum."""
    pages = max(0, len(data) - 8 - int.from_bytes(data[-8:-4], "little"))
    return flipped(data[:pages], rng) + data[pages:]


def truncated(data: bytes, rng: random.Random) -> bytes:
    """Cut off the end."""
    return data[: rng.randrange(len(data) + 1)]


def overwritten(data: bytes, rng: random.Random) -> bytes:
    """Overwrite a part with zeros, as after a power cut, or with noise."""
    at, size = rng.randrange(len(data) + 1), rng.randrange(1, 64)
    stretch = bytes(size) if rng.random() < 0.5 else rng.randbytes(size)
    return (data[:at] + stretch + data[at + size :])[: len(data)]


def doubled(data: bytes, rng: random.Random) -> bytes:
    """Repeat a part."""
    start = rng.randrange(len(data) + 1)
    end = rng.randrange(start, len(data) + 1)
    return data[:end] + data[start:]


DAMAGES = (flipped, truncated, overwritten, doubled)


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file that was damaged one to three times."""
    rng = draw(st.randoms(use_true_random=False))
    for damage in draw(st.lists(st.sampled_from(DAMAGES), min_size=1, max_size=3)):
        whole = damage(whole, rng)
    return whole
