"""Schedules against brute force and against their own definition; shard counts; the exercises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.batch_serving.batch_serving import (
    best_shards,
    latest_finish_s,
)
from serving_mathematics.core.queues.list_scheduling import (
    list_schedule,
)

JOBS = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=12)
BAD = [-1.0, math.nan, math.inf]


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
