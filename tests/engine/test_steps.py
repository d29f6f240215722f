"""Steps of a unit: batches give the same rows as single images, whatever fails, and a row holds the first error."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from irnet_ray.engine import steps
from irnet_ray.engine.steps import Commit, Finish, Item, Load, MapStage, Network
from irnet_ray.errors import UserError
from irnet_ray.runs.folder import Folder
from irnet_ray.runs.shards import Shards
from irnet_ray.tables import Row


class Pairs:
    """Batches of two numbers of the same parity. Raises the exception in `bad`; with `narrow`, fails for any two."""

    def __init__(self, bad: dict[int, Exception] | None = None, narrow: bool = False) -> None:
        self.bad, self.narrow, self.calls = bad or {}, narrow, []

    def batches(self, values: list[int]) -> list[list[int]]:
        alike = [[place for place, value in enumerate(values) if value % 2 == parity] for parity in (0, 1)]
        return [places[n : n + 2] for places in alike for n in range(0, len(places), 2)]

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


def test_batches_run_and_results_find_their_images() -> None:
    step = Pairs()
    found = run(step, items(1, 2, 3, 4, 5))
    assert step.calls == [[2, 4], [1, 3], [5]]
    assert answers(found) == [f"i{n} saw {n}" for n in (1, 2, 3, 4, 5)]


def test_an_image_that_fails_costs_itself_and_its_batch_is_tried_one_by_one() -> None:
    step = Pairs({3: ValueError("three")})
    found = run(step, items(1, 2, 3, 4))
    assert answers(found) == ["i1 saw 1", "i2 saw 2", "ValueError", "i4 saw 4"]
    assert found[2].error == {"stage": "toy", "kind": "ValueError", "message": "three"}
    assert step.calls == [[2, 4], [1, 3], [1], [3]]


def test_a_batch_too_large_for_the_memory_is_tried_one_by_one() -> None:
    assert answers(run(Pairs(narrow=True), items(1, 3))) == ["i1 saw 1", "i3 saw 3"]


def test_an_image_that_failed_before_passes_untouched() -> None:
    first = {"stage": "seeds", "kind": "not-an-image", "message": "broken"}
    step = Pairs()
    found = run(step, [Item({"image_id": "i0"}, None, first), *items(1, 3)])
    assert found[0].error == first and found[0].value is None and step.calls == [[1, 3]]


def test_a_damaged_file_of_the_run_stops_it() -> None:
    with pytest.raises(UserError, match="damaged"):
        run(Pairs({3: UserError("damaged")}), items(1, 3))


def test_a_batch_may_take_no_longer_than_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float | None] = []

    @contextlib.contextmanager
    def at_most(seconds: float | None) -> Iterator[None]:
        limits.append(seconds)
        yield

    monkeypatch.setattr(steps, "at_most", at_most)
    run(Pairs(), items(1, 3, 5), 10.0)
    run(Pairs(), items(1, 3), None)
    assert limits == [10.0, 10.0, None]


def test_steps_of_an_item_stop_at_its_first_error() -> None:
    item = Item({"image_id": "a"})
    item.advance("one", lambda row, value: 5)
    item.advance("one", lambda row, value: value + 1)
    assert (item.value, item.error) == (6, None)
    item.advance("two", lambda row, value: 1 / 0)
    item.advance("two", lambda row, value: os.abort())
    assert item.value is None
    assert item.error == {"stage": "two", "kind": "ZeroDivisionError", "message": "division by zero"}


def test_a_finished_unit_holds_a_row_for_each_image() -> None:
    error = {"stage": "toy", "kind": "odd", "message": "why"}
    unit = [Item({"image_id": "a", "uri": "/a"}, 1), Item({"image_id": "b", "uri": "/b"}, error=error)]
    finish = Finish("toy", lambda row, value: {"image_id": row["image_id"], "seen": value + 1}, None)
    made = finish({"shard": 3, "items": pickle.dumps(unit), "spent": {"load": 1.0}})
    assert pickle.loads(made["items"]) == [
        {"image_id": "a", "uri": "/a", "seen": 2},
        {"image_id": "b", "uri": "/b", "error": error},
    ]
    assert made["shard"] == 3 and made["spent"]["load"] == 1.0 and made["spent"]["finish"] > 0


def test_a_unit_that_cannot_be_written_says_why_instead_of_raising(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    schema = pa.schema([pa.field("image_id", pa.string(), nullable=False)])
    commit = Commit(Shards(Folder(str(tmp_path / "file")), 1), schema)
    rows = [{"image_id": "a", "uri": "/a"}]
    committed = commit({"shard": 0, "items": pickle.dumps(rows), "spent": {}})
    assert committed["refused"].startswith(f"Cannot write to {tmp_path}/file") and committed["done"] == 1


def test_a_source_that_lacks_an_image_stops_the_run(tmp_path: Path) -> None:
    source = Shards(Folder(str(tmp_path)), 1)
    columns = {"image_id": ["a"], "uri": ["/a"]}
    source.rows.write_table(source.part(0), pa.table(columns))
    load = Load("toy", (source,), lambda row: row["uri"], None)
    loaded = pickle.loads(load({"shard": 0, "ids": ["a"]})["items"])
    assert [(item.row, item.value, item.error) for item in loaded] == [({"image_id": "a", "uri": "/a"}, "/a", None)]
    with pytest.raises(UserError, match=source.part(0)):
        load({"shard": 0, "ids": ["a", "b"]})


def test_a_network_says_in_the_stage_s_folder_that_it_is_built(tmp_path: Path) -> None:
    stage = MapStage("toy", pa.schema([]), (), lambda row: None, lambda gpu: Pairs(), lambda row, value: {})
    Network(stage, False, None, Folder(str(tmp_path)))
    assert Folder(str(tmp_path)).files() == [steps.STARTED]
    (tmp_path / "file").write_text("in the way")
    Network(stage, False, None, Folder(str(tmp_path / "file")))  # it is for the commit to refuse
