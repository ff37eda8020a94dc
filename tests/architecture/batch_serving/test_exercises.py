"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.batch_serving.batch_serving import (
    best_shards,
    latest_finish_s,
)
from serving_mathematics.architecture.batch_serving.checkpointing import expected_completion_s
from serving_mathematics.architecture.batch_serving.exercises import (
    excess_over_optimum,
    largest_shard_s,
    missing_and_repeated,
    workers_for_deadline,
)
from serving_mathematics.core.queues.list_scheduling import (
    list_ratio,
    list_schedule,
    optimal_makespan,
)

from tests.architecture.batch_serving.test_batch_serving import BAD, JOBS


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
