"""Schedules against their own definition, the bound, and how many shards: brute force, refusals."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.batch_serving.batch_serving import (
    best_shards,
    latest_finish_s,
    list_schedule,
)

JOBS = st.lists(st.integers(0, 30).map(float), min_size=1, max_size=12)


@given(JOBS, st.integers(1, 5))
def test_a_list_is_worked_off_in_its_order_by_whoever_is_free(
    jobs: list[float], machines: int
) -> None:
    starts, ends = list_schedule(jobs, machines)
    assert np.array_equal(ends - starts, jobs)
    assert (np.diff(starts) >= 0).all()
    for start in starts:
        busy = int(((starts < start) & (ends > start)).sum())
        assert busy < machines  # somebody was free
        if start > 0:
            assert start in ends  # and became so just now
    last = int(ends.argmax())
    bound = sum(jobs) / machines + (1 - 1 / machines) * jobs[last]
    assert ends.max() <= bound + 1e-9
    assert ends.max() >= max(sum(jobs) / machines, max(jobs)) - 1e-9


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
    ends = list_schedule(np.array([*rest, largest]) + overhead, machines)[1]
    latest = latest_finish_s(work, machines, overhead, shards, largest)
    assert ends.max() <= latest * (1 + 1e-9)


@given(st.integers(2, 400), st.integers(2, 20), st.floats(0.05, 20), st.integers(0, 99))
def test_best_shards_is_as_good_as_any(
    rows: int, machines: int, overhead: float, seed: int
) -> None:
    work = np.random.default_rng(seed).lognormal(0, 1, rows)
    done = np.append(0.0, np.cumsum(work))

    def ends(shards: int) -> float:
        cuts = np.rint(np.linspace(0, rows, shards + 1)).astype(int)
        largest = float(np.diff(done[cuts]).max())
        return latest_finish_s(float(done[-1]), machines, overhead, shards, largest)

    found = best_shards(work, machines, overhead)
    assert ends(found) <= min(ends(n) for n in range(1, rows + 1)) * (1 + 1e-9)
