"""A schedule that can be replayed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from irnet_ray.engine.schedule import Schedule

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
    factors = [schedule.factor(iteration) for iteration in range(schedule.iterations)]
    assert factors[0] == 1 and factors[-1] > 0
    assert all(later < earlier for earlier, later in zip(factors, factors[1:], strict=False))


def test_the_rate_warms_up_linearly_to_the_plain_schedule() -> None:
    cold = Schedule.plan(40, 1, 0, 4, 0.9, 0)
    warm = Schedule.plan(40, 1, 0, 4, 0.9, 0, warmup=4)
    parts = [warm.factor(i) / cold.factor(i) for i in range(10)]
    assert parts == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1])


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
