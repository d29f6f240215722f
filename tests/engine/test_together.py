"""Images that a network step takes together: the same rows as one by one, whatever fails."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from irnet_ray.engine import steps
from irnet_ray.engine.steps import Item, MapStage, Network
from irnet_ray.errors import UserError
from irnet_ray.tables import Row


class Pairs:
    """Takes numbers of the same parity together, two at a time; raises what `bad` has, if `narrow` for any two."""

    def __init__(self, bad: dict[int, Exception] | None = None, narrow: bool = False) -> None:
        self.bad, self.narrow, self.calls = bad or {}, narrow, []

    def batches(self, values: list[int]) -> list[list[int]]:
        odd = [[place for place, value in enumerate(values) if value % 2 == parity] for parity in (0, 1)]
        return [places[n : n + 2] for places in odd for n in range(0, len(places), 2)]

    def run_batch(self, rows: list[Row], values: list[int]) -> list[str]:
        if self.narrow and len(rows) > 1:
            raise RuntimeError("CUDA out of memory")
        self.calls.append(values)
        for value in values:
            if value in self.bad:
                raise self.bad[value]
        return [f"{row['image_id']} saw {value}" for row, value in zip(rows, values, strict=True)]

    def __call__(self, row: Row, value: int) -> str:
        return self.run_batch([row], [value])[0]


def run(step: Any, items: list[Item], seconds: float | None = None) -> list[Item]:
    stage = MapStage("toy", pa.schema([]), (), lambda row: None, lambda gpu: step, lambda row, value: {})
    made = Network(stage, False, seconds)({"shard": 0, "items": pickle.dumps(items), "spent": {}})
    return pickle.loads(made["items"])


def items(*values: int) -> list[Item]:
    return [Item({"image_id": f"i{value}"}, value) for value in values]


def answers(found: list[Item]) -> list[Any]:
    return [item.value if item.error is None else item.error["kind"] for item in found]


def test_groups_are_taken_together_and_answers_find_their_images() -> None:
    step = Pairs()
    found = run(step, items(1, 2, 3, 4, 5))
    assert step.calls == [[2, 4], [1, 3], [5]]
    assert answers(found) == [f"i{n} saw {n}" for n in (1, 2, 3, 4, 5)]


def test_an_image_that_fails_costs_itself_and_its_group_is_tried_one_by_one() -> None:
    step = Pairs({3: ValueError("three")})
    found = run(step, items(1, 2, 3, 4))
    assert answers(found) == ["i1 saw 1", "i2 saw 2", "ValueError", "i4 saw 4"]
    assert found[2].error == {"stage": "toy", "kind": "ValueError", "message": "three"}
    assert step.calls == [[2, 4], [1, 3], [1], [3]]


def test_a_group_too_large_for_the_memory_is_tried_one_by_one() -> None:
    assert answers(run(Pairs(narrow=True), items(1, 3))) == ["i1 saw 1", "i3 saw 3"]


def test_an_image_that_failed_before_passes_untouched() -> None:
    first = {"stage": "seeds", "kind": "not-an-image", "message": "broken"}
    step = Pairs()
    found = run(step, [Item({"image_id": "i0"}, None, first), *items(1, 3)])
    assert found[0].error == first and found[0].value is None and step.calls == [[1, 3]]


def test_a_damaged_file_of_the_run_stops_it() -> None:
    with pytest.raises(UserError, match="damaged"):
        run(Pairs({3: UserError("damaged")}), items(1, 3))


def test_images_together_may_take_no_longer_than_one_may(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    @contextlib.contextmanager
    def at_most(seconds: float | None) -> Iterator[None]:
        failures.append(seconds)
        yield

    monkeypatch.setattr(steps, "at_most", at_most)
    run(Pairs(), items(1, 3, 5), 10.0)
    run(Pairs(), items(1, 3), None)
    assert limits == [10.0, 10.0, None]
