"""Limits of an image before it becomes a row of the errors table, and what that row says."""

from __future__ import annotations

import contextlib
import faulthandler
from collections.abc import Iterator

TIMED_OUT, OUT_OF_MEMORY, DIED = "timed-out", "out-of-memory", "worker-died"

IMAGE_SECONDS = 600.0  # for one step of one image
_LOG = 2  # standard error: in a worker of Ray its log


@contextlib.contextmanager
def at_most(seconds: float | None) -> Iterator[None]:
    """End this process if the block takes longer; None for no limit. The process's log then shows where it hung.

    The timer is a C thread that does not need Python's lock, so it also ends a library that never releases the lock.
    """
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds, exit=True, file=_LOG)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def failure(error: Exception) -> tuple[str, str]:
    """Kind and one-line message for an exception that a step raised."""
    message = " ".join(str(error).split())[:500]
    if _is_memory(error):
        return OUT_OF_MEMORY, f"The image needs more memory than there is: {message or type(error).__name__}."
    return getattr(error, "kind", type(error).__name__), message


def timed_out(step: str, seconds: float) -> tuple[str, str]:
    """Kind and message for an image that hung in a step."""
    return TIMED_OUT, f"Its step {step} took longer than {seconds:g} s, the time limit (knob image_seconds)."


def killed_for_memory() -> tuple[str, str]:
    """Kind and message for an image whose processes were ended by Ray's memory monitor."""
    return OUT_OF_MEMORY, "Ray ended every process that worked on this image: the machine's memory was nearly full."


def died() -> tuple[str, str]:
    """Kind and message for an image whose processes died of an unknown cause."""
    return DIED, "Every process that worked on this image died: out of memory, or a library crashed."


def _is_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, on a GPU
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's, on a CPU
