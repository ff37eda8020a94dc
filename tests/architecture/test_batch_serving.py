"""Schedules against brute force and against their own definition; shard counts; the exercises."""

from __future__ import annotations

import math
from itertools import pairwise, permutations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.batch_serving import (
    Schedule,
    best_shards,
    latest_finish_s,
    list_ratio,
    list_schedule,
    lpt_ratio,
    lpt_schedule,
    makespan_floor,
    optimal_makespan,
)
from serving_mathematics.architecture.checkpointing import expected_completion_s
from serving_mathematics.architecture.exercises.batch_serving import (
    excess_over_optimum,
    largest_shard_s,
    missing_and_repeated,
    workers_for_deadline,
)

JOBS = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=12)
BAD = [-1.0, math.nan, math.inf]


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


@given(
    st.floats(1, 1e6),
    st.integers(1, 40),
    st.floats(0.01, 100),
    st.integers(1, 200),
    st.floats(1, 9),
)
def test_latest_finish_covers_the_worst_order(
    work: float, machines: int, overhead: float, shards: int, spread: float
) -> None:
    """One shard of the largest size last, the rest equal."""
    largest = min(work, spread * work / shards)
    rest = [(work - largest) / (shards - 1)] * (shards - 1) if shards > 1 else []
    plan = list_schedule(np.array([*rest, largest]) + overhead, machines)
    latest = latest_finish_s(work, machines, overhead, shards, spread)
    assert plan.makespan <= latest * (1 + 1e-12)


def test_latest_finish_is_attained() -> None:
    """15 shards of 1 on 4 machines, 3 of them done by each but one, and then one of 3."""
    jobs = np.array([1.0] * 12 + [3.0])
    assert list_schedule(jobs, 4).makespan == 6.0
    assert latest_finish_s(15.0, 4, 0.0, 13, 3 * 13 / 15) == pytest.approx(6.0)


@given(st.floats(1, 1e5), st.integers(1, 30), st.floats(0.1, 50), st.floats(1, 8))
def test_best_shards_beats_its_neighbours(
    work: float, machines: int, overhead: float, spread: float
) -> None:
    best = best_shards(work, machines, overhead, spread)
    there = latest_finish_s(work, machines, overhead, best, spread)
    assert best >= machines
    for other in {max(machines, best - 1), best + 1, 2 * best, max(machines, best // 2)}:
        if other >= spread:  # the formula of the derivation
            assert there <= latest_finish_s(work, machines, overhead, other, spread) * (1 + 1e-12)


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


@pytest.mark.parametrize("bad", BAD)
def test_shard_arguments_are_refused(bad: float) -> None:
    good = {"work_s": 1.0, "machines": 2, "overhead_s": 1.0, "spread": 1.0}
    for name, message in (
        ("work_s", "finite"),
        ("overhead_s", "finite"),
        ("spread", "at least 1 and finite"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be .*{message}"):
            best_shards(**(good | {name: bad}))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=f"{name} must be .*{message}"):
            latest_finish_s(**(good | {name: bad}), shards=3)  # type: ignore[arg-type]
    for name, function in (
        ("work_s", best_shards),
        ("overhead_s", best_shards),
    ):
        with pytest.raises(ValueError, match=f"{name} must be positive"):
            function(**(good | {name: 0.0}))  # type: ignore[arg-type]
    assert latest_finish_s(0.0, 2, 0.0, 3, 1.0) == 0.0
    with pytest.raises(ValueError, match="machines must be a positive integer"):
        best_shards(**(good | {"machines": bad}))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shards must be a positive integer"):
        latest_finish_s(1.0, 2, 1.0, 0, 1.0)


# Exercises


@given(st.lists(st.integers(0, 19), max_size=40))
def test_missing_and_repeated(numbers: list[int]) -> None:
    missing, repeated = missing_and_repeated(numbers, 20)
    lacking = [row for first, last in missing for row in range(first, last)]
    assert lacking == sorted(set(range(20)) - set(numbers))
    assert repeated == [row for row in range(20) if numbers.count(row) > 1]
    assert all(a[1] < b[0] for a, b in pairwise(missing))


@pytest.mark.parametrize("numbers", [[-1], [5], [0.5], [math.nan]])
def test_unknown_rows_are_refused(numbers: list[float]) -> None:
    with pytest.raises(ValueError, match="row_numbers must be integers from 0 to 4"):
        missing_and_repeated(numbers, 5)
    with pytest.raises(ValueError, match="rows must be a positive integer"):
        missing_and_repeated([], 0)
    with pytest.raises(ValueError, match=r"row_numbers must be of shape \(k,\)"):
        missing_and_repeated([[0]], 5)


@given(st.floats(10, 1e4), st.floats(0.1, 5), st.floats(1, 4), st.floats(1.5, 30))
def test_workers_for_deadline(work: float, overhead: float, spread: float, ideal: float) -> None:
    deadline = work / ideal
    try:
        workers, shards = workers_for_deadline(work, overhead, spread, deadline)
    except ValueError:
        assert deadline < 10 * math.sqrt(spread * work * overhead)  # no number of workers will do
        return
    assert latest_finish_s(work, workers, overhead, shards, spread) <= deadline
    if workers > 1:
        fewer = best_shards(work, workers - 1, overhead, spread)
        assert latest_finish_s(work, workers - 1, overhead, fewer, spread) > deadline


@pytest.mark.parametrize("bad", [0.0, *BAD])
def test_deadlines_and_losses_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="deadline_s must be positive"):
        workers_for_deadline(1.0, 1.0, 1.0, bad)
    with pytest.raises(ValueError, match="failure_gap_s must be positive"):
        largest_shard_s(bad, 0.1)
    with pytest.raises(ValueError, match="loss must be in"):
        largest_shard_s(1.0, bad)


@given(st.floats(1, 1e6), st.floats(1e-3, 100))
def test_largest_shard(gap: float, loss: float) -> None:
    shard = largest_shard_s(gap, loss)
    assert expected_completion_s(shard, shard, 0.0, gap) / shard == pytest.approx(1 + loss)


@given(JOBS.filter(lambda jobs: min(jobs) > 0 and len(jobs) < 9), st.integers(1, 3))
def test_excess_is_a_bound(jobs: list[float], machines: int) -> None:
    plan = list_schedule(jobs, machines)
    bound = excess_over_optimum(plan.start, plan.end, machines)
    assert bound >= plan.makespan / optimal_makespan(jobs, machines) - 1 - 1e-12
    assert bound <= list_ratio(machines) - 1 + 1e-9


def test_excess_refuses() -> None:
    with pytest.raises(ValueError, match=r"start must be non-empty \(n,\)"):
        excess_over_optimum([], [], 1)
    with pytest.raises(ValueError, match=r"end must be of shape \(1,\)"):
        excess_over_optimum([0.0], [1.0, 2.0], 1)
    for start, end in ((-1.0, 1.0), (1.0, 1.0), (0.0, math.inf), (0.0, math.nan)):
        with pytest.raises(ValueError, match="end must be after the start"):
            excess_over_optimum([start], [end], 1)
