"""Copies against list schedules, by hand, and against the memoryless means."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.batch_serving.stragglers import (
    Outcome,
    mean_makespan,
    run_with_copies,
    simulate_makespan,
)
from serving_mathematics.core.queues.list_scheduling import list_schedule

TIMES = st.lists(st.floats(0.1, 50), min_size=1, max_size=25)


@given(TIMES, st.integers(1, 8))
def test_without_copies_it_is_the_list_schedule(times: list[float], machines: int) -> None:
    outcome = run_with_copies(times, machines)
    assert outcome.makespan == pytest.approx(list_schedule(times, machines).makespan)
    assert outcome.busy == pytest.approx(sum(times))


@given(TIMES, st.integers(1, 8), st.data())
def test_copies_never_delay_the_end(times: list[float], machines: int, data: st.DataObject) -> None:
    second = data.draw(
        st.lists(st.floats(0.1, 50), min_size=len(times), max_size=len(times)), label="second"
    )
    outcome = run_with_copies(times, machines, second)
    alone = run_with_copies(times, machines)
    assert outcome.makespan <= alone.makespan + 1e-9
    assert outcome.busy <= machines * outcome.makespan + 1e-9
    hopeless = run_with_copies(times, machines, [1e6] * len(times))
    assert hopeless.makespan == pytest.approx(alone.makespan)


def test_by_hand() -> None:
    # two workers; task 2 is left at 1 s, worker 2 is free at 3 s and copies it: 3 + 2 < 9
    assert run_with_copies([1.0, 3.0, 8.0], 2, [9.0, 9.0, 2.0]) == Outcome(5.0, 10.0)
    # the copy of task 0 starts at 1 s and loses to the first attempt
    assert run_with_copies([2.0, 1.0], 2, [1.5, 9.0]) == Outcome(2.0, 4.0)
    # three free workers, one task: one copy only
    assert run_with_copies([5.0, 1.0, 1.0, 1.0], 4, [3.0] * 4) == Outcome(4.0, 10.0)
    # at 2 s the task that started at 0 s is copied, not the one that started at 1 s
    assert run_with_copies([9.0, 1.0, 2.0, 9.0], 3, [1.0] * 4).makespan == 4.0
    assert run_with_copies([9.0, 1.0, 2.0, 9.0], 3, [1.0, 1.0, 1.0, 3.0]).makespan == 6.0
    # one worker never copies
    assert run_with_copies([2.0, 3.0], 1, [0.1, 0.1]) == Outcome(5.0, 5.0)


def test_the_freed_worker_of_a_stopped_attempt_is_used() -> None:
    # at 1 s task 0 is copied; the copy ends at 2 s and frees two workers, one copies task 1
    assert run_with_copies([9.0, 9.0, 1.0], 3, [1.0, 1.0, 1.0]) == Outcome(3.0, 2 + 3 + 1 + 1 + 1)


def test_means() -> None:
    assert mean_makespan(1, 1, copies=False) == 1.0
    assert mean_makespan(1, 2, copies=True) == 0.5
    assert mean_makespan(5, 1, copies=True) == 5.0
    assert mean_makespan(2, 8, copies=False) == 1.5
    harmonic = math.fsum(1 / k for k in range(1, 11))
    assert mean_makespan(40, 10, copies=False) == pytest.approx(3 + harmonic)
    half = math.fsum(1 / (2 * k) for k in range(1, 6)) + 5 / 10
    assert mean_makespan(40, 10, copies=True) == pytest.approx(3 + half)


def test_simulation_without_stragglers_is_nearly_constant() -> None:
    rng = np.random.default_rng(1)
    end, busy = simulate_makespan(rng, 20, 10, 0.0, 7.0, copies=False, runs=40)
    assert 1.95 < end.mean < 2.2
    assert busy.mean == pytest.approx(1.0, abs=0.02)
    assert end.half_width == pytest.approx(1.96 * end.standard_error)


def test_simulation_of_stragglers() -> None:
    rng = np.random.default_rng(2)
    end, busy = simulate_makespan(rng, 300, 30, 0.1, 4.0, copies=False, runs=100)
    assert abs(busy.mean - 1.3) <= 4 * busy.standard_error
    assert end.mean > 10 * 1.3
    copied, _ = simulate_makespan(rng, 300, 30, 0.1, 4.0, copies=True, runs=100)
    assert copied.mean < end.mean - 3 * (end.standard_error + copied.standard_error)
    always, _ = simulate_makespan(rng, 30, 30, 1.0, 4.0, copies=False, runs=20)
    assert 4 * 0.9 < always.mean < 4 * 1.1


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_durations_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="first must be positive and finite"):
        run_with_copies([1.0, bad], 1)
    with pytest.raises(ValueError, match="second must be positive and finite"):
        run_with_copies([1.0, 1.0], 1, [1.0, bad])
    with pytest.raises(ValueError, match="machines must be a positive integer"):
        run_with_copies([1.0], bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="machines must be a positive integer"):
        mean_makespan(1, bad, copies=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tasks must be a positive integer"):
        mean_makespan(bad, 1, copies=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [-1.5, 2, 0.5, math.nan, "yes", None])
def test_copies_are_made_or_not(bad: object) -> None:
    with pytest.raises(ValueError, match="copies must be True or False"):
        mean_makespan(4, 2, copies=bad)  # type: ignore[arg-type]


def test_shapes_and_shares_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"first must be non-empty \(n,\)"):
        run_with_copies([], 1)
    with pytest.raises(ValueError, match=r"second must be non-empty \(n,\)"):
        run_with_copies([1.0], 1, [[1.0]])
    with pytest.raises(ValueError, match="second must be as long as first"):
        run_with_copies([1.0], 1, [1.0, 2.0])
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"slow_share must be in \[0, 1\]"):
            simulate_makespan(rng, 5, 2, share, 2.0, copies=True)
    for slowdown in (0.9, math.nan, math.inf):
        with pytest.raises(ValueError, match="slowdown must be at least 1"):
            simulate_makespan(rng, 5, 2, 0.5, slowdown, copies=True)
    with pytest.raises(ValueError, match="tasks must be a positive integer"):
        simulate_makespan(rng, 0, 2, 0.5, 2.0, copies=True)
    with pytest.raises(ValueError, match="runs must be an integer from 10 to"):
        simulate_makespan(rng, 5, 2, 0.5, 2.0, copies=True, runs=9)
