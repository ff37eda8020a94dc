"""Limits, oracles, properties and errors of `core.queues.list_scheduling`."""

from __future__ import annotations

import math
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.queues.list_scheduling import (
    Schedule,
    list_ratio,
    list_schedule,
    lpt_ratio,
    lpt_schedule,
    makespan_floor,
    optimal_makespan,
)

from tests.architecture.batch_serving.test_batch_serving import JOBS


def assert_valid(plan: Schedule, jobs: list[float], machines: int) -> None:
    """No machine does two jobs at once or waits between two of them."""
    assert np.array_equal(plan.end - plan.start, jobs)
    for machine in range(machines):
        mine = sorted(
            zip(plan.start[plan.machine == machine], plan.end[plan.machine == machine], strict=True)
        )
        free = 0.0
        for start, end in mine:
            assert start == free
            free = end


@given(JOBS, st.integers(1, 5), st.randoms())
def test_list_schedule_is_greedy_and_within_its_bounds(
    jobs: list[float], machines: int, random: Any
) -> None:
    order = list(range(len(jobs)))
    random.shuffle(order)
    plan = list_schedule(jobs, machines, order=order)
    assert_valid(plan, jobs, machines)
    assert plan.makespan == plan.end.max()
    starts = [plan.start[job] for job in order]
    assert starts == sorted(starts)  # the list is worked off in its order
    last = int(plan.end.argmax())
    bound = sum(jobs) / machines + (1 - 1 / machines) * jobs[last]
    assert plan.makespan <= bound + 1e-9
    assert makespan_floor(jobs, machines) <= plan.makespan
    assert plan.makespan <= list_ratio(machines) * makespan_floor(jobs, machines) + 1e-9


@given(JOBS.filter(lambda jobs: len(jobs) <= 7), st.integers(1, 3))
def test_optimum_by_every_assignment(jobs: list[float], machines: int) -> None:
    best = min(
        max(
            sum(time for time, place in zip(jobs, places, strict=True) if place == machine)
            for machine in range(machines)
        )
        for places in product(range(machines), repeat=len(jobs))
    )
    assert optimal_makespan(jobs, machines) == best
    assert makespan_floor(jobs, machines) <= best + 1e-9
    longest_first = lpt_schedule(jobs, machines).makespan
    assert best <= longest_first <= lpt_ratio(machines) * best + 1e-9


def test_some_list_is_optimal() -> None:
    jobs = [3.0, 3, 2, 2, 2]
    ends = {list_schedule(jobs, 2, order=order).makespan for order in permutations(range(5))}
    assert min(ends) == optimal_makespan(jobs, 2) == 6
    assert max(ends) <= list_ratio(2) * 6


def test_lpt_orders_by_length_and_then_by_place() -> None:
    plan = lpt_schedule([1.0, 4.0, 2.0, 4.0], 2)
    assert plan.start.tolist() == [6.0 - 2.0, 0.0, 4.0, 0.0]
    assert plan.machine.tolist() == [1, 0, 0, 1]


def test_machines_that_are_ready_later() -> None:
    plan = list_schedule([2.0, 2.0, 2.0], 2, ready=[5.0, 1.0])
    assert plan.start.tolist() == [1.0, 3.0, 5.0]
    assert plan.machine.tolist() == [1, 1, 0]
    tie = list_schedule([1.0], 3, ready=[2.0, 1.0, 1.0])
    assert tie.machine.tolist() == [1]


def test_floor_counts_jobs_that_must_share() -> None:
    assert makespan_floor([4.0, 4, 4, 3], 3) == 7.0  # the two shortest of four
    assert makespan_floor([4.0, 4, 4], 2) == 8.0  # three jobs, two machines
    assert makespan_floor([3.0] * 5, 2) == 9.0  # five jobs, two machines: one does three
    assert makespan_floor([9.0, 1, 1], 2) == 9.0
    assert makespan_floor([0.0], 2) == 0.0


def test_ratios() -> None:
    assert [list_ratio(m) for m in (1, 2, 4)] == [1, 1.5, 1.75]
    assert lpt_ratio(1) == pytest.approx(1)
    assert lpt_ratio(3) == pytest.approx(11 / 9)
    assert list_ratio(10**9) == pytest.approx(2)
    assert lpt_ratio(10**9) == pytest.approx(4 / 3)


@pytest.mark.parametrize("order", [[0], [0, 0], [1, 2], [0, 1, 2], [0.5, 1]])
def test_orders_are_refused(order: list[float]) -> None:
    with pytest.raises(ValueError, match="order must be a permutation of 0 … 1"):
        list_schedule([1.0, 2.0], 2, order=order)


def test_ready_is_refused() -> None:
    with pytest.raises(ValueError, match=r"ready must be of shape \(2,\)"):
        list_schedule([1.0], 2, ready=[0.0])
    with pytest.raises(ValueError, match="ready must be finite"):
        list_schedule([1.0], 2, ready=[0.0, math.nan])


def test_optimum_is_for_small_instances() -> None:
    assert optimal_makespan([1.0] * 20, 4) == 5.0
    with pytest.raises(ValueError, match="durations must be at most 20 jobs"):
        optimal_makespan([1.0] * 21, 4)
