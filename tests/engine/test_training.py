"""The train mechanism: a schedule that can be replayed, and trainings that survive the death of anyone."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from irnet_ray.engine.training import Schedule, _own_interrupt, _Reporter
from irnet_ray.run import Folder
from tests.engine import toy_training as toy
from tests.engine.processes import Marked

torch.set_num_threads(1)
SCHEDULES = st.builds(
    Schedule,
    epochs=st.integers(1, 5),
    iterations_per_epoch=st.integers(1, 20),
    batch_size=st.integers(1, 16),
    power=st.floats(0.1, 3),
    seed=st.integers(0, 5),
)


@given(st.integers(1, 2000), st.integers(1, 10), st.integers(1, 3000), st.integers(1, 64))
def test_small_data_sets_repeat_and_large_ones_are_passed_over_whole(
    images: int, epochs: int, least: int, batch: int
) -> None:
    schedule = Schedule.plan(images, epochs, least, batch, 0.9, 0)
    assert schedule.iterations >= least
    assert schedule.iterations * batch >= epochs * images
    assert (schedule.iterations - epochs) < max(least, epochs * (images / batch + 1))  # and no longer than that


@given(SCHEDULES)
def test_the_rate_decays_from_one_and_never_reaches_zero(schedule: Schedule) -> None:
    factors = [schedule.decay(iteration) for iteration in range(schedule.iterations)]
    assert factors[0] == 1 and factors[-1] > 0
    assert all(later < earlier for earlier, later in zip(factors, factors[1:], strict=False))


@given(SCHEDULES, st.integers(1, 60), st.integers(1, 4))
@settings(max_examples=50)
def test_workers_share_one_order_in_equal_disjoint_parts(schedule: Schedule, images: int, world: int) -> None:
    for epoch in range(schedule.epochs):
        parts = [schedule.indices(epoch, images, rank, world) for rank in range(world)]
        assert parts == [schedule.indices(epoch, images, rank, world) for rank in range(world)]
        share = max(1, schedule.batch_size // world)
        assert all([len(batch) for batch in part] == [share] * schedule.iterations_per_epoch for part in parts)
        # Read step by step and worker by worker, the parts are whole passes over the images, shuffled.
        order = [i for step in zip(*parts, strict=True) for batch in step for i in batch]
        for start in range(0, len(order), images):
            one_pass = order[start : start + images]
            assert len(set(one_pass)) == len(one_pass) and set(one_pass) <= set(range(images))
        counts = np.bincount(order, minlength=images)
        assert counts.max() - counts.min() <= 1


def test_epochs_differ_and_so_do_seeds() -> None:
    schedule = Schedule(3, 10, 4, 0.9, seed=0)
    other = Schedule(3, 10, 4, 0.9, seed=1)
    orders = [str(s.indices(epoch, 50, 0, 1)) for s in (schedule, other) for epoch in range(3)]
    assert len(set(orders)) == 6


def test_a_loss_that_is_not_finite_is_named_with_its_iteration() -> None:
    reporter = _Reporter(None)
    reporter.add("irnet", 0, {"total": torch.tensor(1.0), "other": torch.tensor(3.0)})
    reporter.add("irnet", 1, {"total": torch.tensor(2.0), "other": torch.tensor(5.0)})
    assert reporter.means() == {"total": 1.5, "other": 4.0}
    for value in (torch.nan, torch.inf):
        with pytest.raises(RuntimeError, match=rf"^irnet: the loss other is {value} at iteration 41\.$"):
            reporter.add("irnet", 41, {"total": torch.tensor(1.0), "other": torch.tensor(value)})


def test_progress_is_told_by_one_worker_and_seldom(tmp_path: Path) -> None:
    reporter = _Reporter(Folder(str(tmp_path)))
    for iteration in range(5):
        reporter.add("irnet", iteration, {"total": torch.tensor(1.0)})
    state = json.loads((tmp_path / "progress.json").read_text())
    assert state == {"iteration": 1, "losses": {"total": 1.0}, "pid": os.getpid()}


def test_ctrl_c_in_a_training_is_an_interrupt_and_nothing_else_changes() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), _own_interrupt():
        signal.signal(signal.SIGINT, lambda *_: sys.exit(1))  # as Ray Train does
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
    assert signal.getsignal(signal.SIGINT) is before

    def elsewhere() -> None:
        with _own_interrupt():
            passed.append(True)

    passed: list[bool] = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert passed and signal.getsignal(signal.SIGINT) is before


def plain_training() -> tuple[dict[str, torch.Tensor], list[float]]:
    """The toy training as a loop of a few lines, without Ray: weights, and the total loss of each epoch."""
    schedule, means = toy.SCHEDULE, []
    task = toy.ToyTask(Path(os.devnull).parent / "absent")
    task._perhaps_hold = lambda: None  # type: ignore[method-assign]
    optimizer = torch.optim.SGD(task.groups(), lr=0.0, weight_decay=toy.WEIGHT_DECAY)
    rates = [group["lr"] for group in optimizer.param_groups]
    for epoch in range(schedule.epochs):
        parts = [schedule.indices(epoch, toy.IMAGES, rank, toy.WORKERS) for rank in range(toy.WORKERS)]
        share, totals = len(parts[0][0]), []
        for step in range(schedule.iterations_per_epoch):
            iteration = epoch * schedule.iterations_per_epoch + step
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * (1 - iteration / 12) ** 0.9
            samples = [
                task.sample(index, np.random.default_rng([schedule.seed, 2, epoch, rank, step * share + k]))
                for rank, part in enumerate(parts)
                for k, index in enumerate(part[step])
            ]
            batch = {name: torch.stack([sample[name] for sample in samples]) for name in ("x", "y")}
            losses = [task.losses(task.model, {name: t[:share] for name, t in batch.items()})["total"]]
            losses += [task.losses(task.model, {name: t[share:] for name, t in batch.items()})["total"]]
            optimizer.zero_grad()
            (sum(losses) / toy.WORKERS).backward()  # type: ignore[union-attr]
            optimizer.step()
            totals.append(losses[0].item())
        means.append(float(np.mean(totals)))
    task.model.get_buffer("finished").fill_(toy.WORKERS)
    return task.model.state_dict(), means


def calls(folder: Path) -> dict[int, list[int]]:
    """The calls of the loss by each process of rank 0, in the order of their starts."""
    made: dict[int, list[int]] = {}
    for line in (folder / "calls").read_text().splitlines():
        pid, rank, call = map(int, line.split())
        if rank == 0:
            made.setdefault(pid, []).append(call)
    return made


def checkpointed(stage: Path, epoch: int) -> bool:
    """Whether the controller, which looks every other second, has written down the checkpoint of an epoch."""
    try:
        snapshot = json.loads((stage / "training" / "toy" / "checkpoint_manager_snapshot.json").read_text())
        return bool(snapshot["latest_checkpoint_result"]["metrics"]["epoch"] == epoch)
    except (OSError, ValueError, TypeError):  # not there yet, half written, none
        return False


def hold(folder: Path, rank: int, call: int) -> Path:
    (folder / "holding").unlink(missing_ok=True)
    (folder / "hold").write_text(f"{rank} {call}")
    return folder / "holding"


def test_a_training_survives_the_death_of_its_driver_and_of_a_worker(tmp_path: Path) -> None:
    """Killed in its second epoch by the driver's death, in its third by a worker's: the same weights come out."""
    script, stage = Path(toy.__file__), tmp_path / "stage"
    holding = hold(tmp_path, rank=0, call=5)
    with Marked(script, tmp_path, log=tmp_path / "first.log") as first:
        first.wait_for(lambda: holding.exists() and checkpointed(stage, 0))
        first.kill()
    assert not (stage / "weights.safetensors").exists()

    holding = hold(tmp_path, rank=1, call=5)
    with Marked(script, tmp_path, log=tmp_path / "second.log") as second:
        second.wait_for(lambda: holding.exists() and checkpointed(stage, 1))
        worker = int(holding.read_text())
        assert worker in second.others()
        (tmp_path / "hold").unlink()
        os.kill(worker, signal.SIGKILL)
        second.finish()
        (tmp_path / "hold").write_text("nobody")
    assert second.others() == []

    # Of 12 calls in 4 epochs: 5 die with the driver in epoch 2, whose 3 are done again with 2 of epoch 3, which
    # die with the worker; epochs 3 and 4 remain.
    assert [made[-1] for made in calls(tmp_path).values()] == [5, 5, 6]
    weights, means = plain_training()
    history = json.loads((stage / "history.json").read_text())
    assert [epoch["iteration"] for epoch in history] == [3, 6, 9, 12]
    assert [epoch["losses"]["total"] for epoch in history] == pytest.approx(means, rel=1e-4)
    trained = load_file(stage / "weights.safetensors")
    assert set(trained) == set(weights)
    for name, tensor in weights.items():
        assert torch.allclose(trained[name], tensor, atol=1e-5), name
    assert not (stage / "training").exists()


@pytest.mark.slow
def test_a_training_whose_loss_is_not_finite_ends_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with Marked(Path(toy.__file__), tmp_path, log=tmp_path / "log") as training:
        assert training.driver.wait(300) == 1
    last = (tmp_path / "log").read_text().strip().splitlines()[-1]
    assert last.endswith("toy: the loss total is nan at iteration 0.")
    assert not (tmp_path / "stage" / "weights.safetensors").exists()
