"""Rows streamed to the workers: full batches, the same number for each worker, and epochs that can be repeated."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import ray.data
import torch

from irnet_ray.engine.loading import RowLoader
from irnet_ray.engine.schedule import Schedule
from irnet_ray.engine.session import Devices
from irnet_ray.engine.task import HopelessError
from irnet_ray.engine.training import run_training, to_device
from irnet_ray.runs.folder import Folder
from tests.engine import toy_training as toy
from tests.engine.curves import read_curves

# Silenced by the session; but pytest puts the filters back after the test that opened it.
pytestmark = pytest.mark.filterwarnings("ignore::ray.util.annotations.RayDeprecationWarning")


class Numbers:
    """A task whose samples are a row's number and a random one."""

    def __init__(self, unusable: Callable[[int], bool] = lambda number: False) -> None:
        self.unusable = unusable

    def sample(self, row: dict[str, Any], rng: np.random.Generator, /) -> dict[str, Any] | None:
        if self.unusable(row["number"]):
            return None
        return {"number": row["number"], "noise": rng.random()}


def loader(task: Numbers, rows: int, schedule: Schedule) -> RowLoader:
    """What a single worker gets of a data set of a few blocks."""
    items = [{"image_id": f"image {number}", "number": number} for number in range(rows)]
    data = ray.data.from_items(items, override_num_blocks=min(3, rows))
    data.context.execution_options.preserve_order = True
    return RowLoader(task, schedule, lambda source: data.iterator(), 0, 1, torch.device("cpu"), 2)  # type: ignore[arg-type]


def samples(loader: RowLoader, epoch: int) -> list[tuple[int, float]]:
    """An epoch's samples, after a look at its batches."""
    batches = list(loader.batches(epoch))
    assert len(batches) == loader.schedule.iterations_per_epoch
    assert {len(batch["number"]) for batch in batches} == {loader.schedule.batch_size}
    return [pair for b in batches for pair in zip(b["number"].tolist(), b["noise"].tolist(), strict=True)]


def test_an_epoch_can_be_repeated_and_no_two_epochs_are_equal(devices: Devices) -> None:
    rows = loader(Numbers(), 10, Schedule(2, 4, 4, 0.9, seed=3))
    first, second = samples(rows, 0), samples(rows, 1)
    again = loader(Numbers(), 10, rows.schedule)
    assert samples(again, 1) == second  # by another process, which has not seen the epoch before
    assert samples(again, 0) == first
    # 16 samples are a whole pass over the 10 rows and a part of the next, each in an order of its own.
    orders = [[number for number, _ in epoch] for epoch in (first, second)]
    for order in orders:
        assert sorted(order[:10]) == list(range(10)) and len(set(order[10:])) == 6
    assert orders[0][:10] != orders[1][:10]
    assert len({noise for _, noise in first + second}) == 32  # an image is augmented anew in each pass
    other = loader(Numbers(), 10, Schedule(2, 4, 4, 0.9, seed=4))
    assert samples(other, 0) != first


def test_rows_without_a_sample_are_left_out_and_few_rows_repeat(devices: Devices) -> None:
    some = loader(Numbers(lambda number: number % 3 == 0), 10, Schedule(1, 3, 4, 0.9, 0))
    counts = np.bincount([number for number, _ in samples(some, 0)], minlength=10)
    assert counts.tolist() == [0, *[2, 2, 0] * 3]
    one = loader(Numbers(), 1, Schedule(1, 1, 3, 0.9, 0))
    assert [number for number, _ in samples(one, 0)] == [0, 0, 0]


def test_a_data_set_without_any_sample_is_refused(devices: Devices) -> None:
    none = loader(Numbers(lambda number: True), 3, Schedule(1, 1, 2, 0.9, 0))
    with pytest.raises(HopelessError, match=r"^not one row of the data set can be used\.$"):
        list(none.batches(0))


def test_batches_move_at_any_depth() -> None:
    batch = {"images": [torch.zeros(1), torch.zeros(2)], "truth": [{"y": torch.ones(3)}], "names": ["a"], "count": 2}
    moved = to_device(batch, torch.device("meta"))
    assert [image.device.type for image in moved["images"]] == ["meta", "meta"]
    assert moved["truth"][0]["y"].device.type == "meta" and moved["truth"][0]["y"].shape == (3,)
    assert (moved["names"], moved["count"]) == (["a"], 2)


def train(folder: Path, schedule: Schedule, devices: Devices, workers: int) -> dict[str, float]:
    ray.cloudpickle.register_pickle_by_value(toy)
    return run_training(toy.stage(folder, "streamed", schedule), Folder(str(folder / "out")), devices, workers)


def test_two_workers_see_what_one_sees_and_give_its_loss_curve(tmp_path: Path, devices: Devices) -> None:
    """The images and their noise are the same, the order is not: the losses of an epoch agree within 10 %."""
    schedule = Schedule(epochs=4, iterations_per_epoch=4, batch_size=4, power=0.9, seed=1)
    losses = {}
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        toy.write_rows(folder, list(range(16)), broken=[])
        last = train(folder, schedule, devices, workers)
        history = json.loads((folder / "out" / "history.json").read_text())
        assert last == history[-1]["losses"]
        losses[workers] = [epoch["losses"]["total"] for epoch in history]
        seen = [toy.calls(folder, "streamed", rank) for rank in range(workers)]
        steps = list(zip(*(process for (process,) in seen), strict=True))  # equally many, by one process each
        assert len(steps) == 16
        assert {len(call["numbers"]) for step in steps for call in step} == {4 // workers}
        orders = [
            [n for step in steps[start : start + 4] for call in step for n in call["numbers"]]
            for start in range(0, 16, 4)
        ]
        assert all(sorted(order) == list(range(16)) for order in orders)
        assert all(a != b for a, b in itertools.pairwise(orders))
        curves = read_curves(folder / "out" / "tensorboard")
        assert [step for step, _ in curves["loss/total"]] == list(range(16))
        rates = [0.02 * schedule.factor(iteration) for iteration in range(16)]
        assert [rate for _, rate in curves["rate"]] == pytest.approx(rates)
    assert losses[2] == pytest.approx(losses[1], rel=0.1)
    assert losses[1][-1] < 0.5 * losses[1][0]


def test_a_loss_that_is_not_finite_on_one_worker_ends_all_at_once(
    tmp_path: Path, devices: Devices, capsys: pytest.CaptureFixture[str]
) -> None:
    """The workers share three rows, one of them usable, and an interrupted start had come further."""
    toy.write_rows(tmp_path, [0, 1, 2], broken=[0, 2])
    (tmp_path / "broken").write_text("streamed 1 2")
    Folder(str(tmp_path / "out")).write_json("progress.json", {"iteration": 99, "losses": {"total": 0.5}})
    with pytest.raises(RuntimeError, match=r"^streamed: the loss total is nan at iteration 1\.$"):
        train(tmp_path, Schedule(1, 2, 4, 0.9, 0), devices, workers=2)
    for rank in range(2):
        (process,) = toy.calls(tmp_path, "streamed", rank)  # none was started again
        assert [call["numbers"] for call in process] == [[1, 1]] * 2
    assert not (tmp_path / "out" / "weights.safetensors").exists()
    steps = [step for step, _ in read_curves(tmp_path / "out" / "tensorboard")["loss/total"]]
    assert steps == [0]
    assert "streamed: 99/" not in capsys.readouterr().out
