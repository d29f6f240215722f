"""Time limits of a block, and the kinds that failures of an image have."""

from __future__ import annotations

import time

import pytest

from irnet_ray.engine import failures
from irnet_ray.engine.failures import at_most, failure


def test_time_limits_end_with_their_block() -> None:
    with at_most(0.2):
        pass
    with pytest.raises(ZeroDivisionError), at_most(0.2):
        raise ZeroDivisionError
    time.sleep(0.5)  # this process would be gone


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_memory_errors_of_all_libraries_have_one_kind(error: Exception) -> None:
    kind, message = failure(error)
    assert kind == "out-of-memory" and message.startswith("The image needs more memory than there is: ")
    assert failure(RuntimeError("no memory of that")) == ("RuntimeError", "no memory of that")


def test_a_message_is_one_line_and_an_error_may_name_its_kind() -> None:
    error = ValueError("two\n  lines")
    assert failure(error) == ("ValueError", "two lines")
    error.kind = "odd"  # type: ignore[attr-defined]
    assert failure(error)[0] == "odd"
    assert len(failure(ValueError("x" * 10_000))[1]) == 500


def test_the_driver_distinguishes_three_ends_of_a_process() -> None:
    ends = [failures.timed_out("load", 2.5), failures.killed_for_memory(), failures.died()]
    assert [kind for kind, _ in ends] == ["timed-out", "out-of-memory", "worker-died"]
    assert "load" in ends[0][1] and "2.5 s" in ends[0][1]
