"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.utilization.exercises import (
    busy_from_log,
    rate_that_slows,
    what_binds,
)


@given(
    st.lists(st.tuples(st.integers(-5, 15), st.integers(0, 10)), min_size=1, max_size=12),
    st.integers(0, 5),
)
def test_log_gauges_equal_counting_ticks(log: list[tuple[int, int]], first: int) -> None:
    starts = [start for start, _ in log]
    ends = [start + length for start, length in log]
    last, servers = first + 8, len(log)
    ticks = [sum(s <= t < e for s, e in zip(starts, ends, strict=True)) for t in range(first, last)]
    busy, any_server = busy_from_log(starts, ends, servers, first, last)
    assert busy == pytest.approx(sum(ticks) / (8 * servers))
    assert any_server == pytest.approx(sum(tick > 0 for tick in ticks) / 8)


@given(st.floats(1.0, 50.0), st.floats(1e-4, 1.0), st.integers(0, 5000), st.floats(0.0, 0.01))
def test_rate_that_slows_gives_back_the_slowness(
    times: float, prompt_s: float, later_tokens: int, sequence_s: float
) -> None:
    rate = rate_that_slows(times, prompt_s, later_tokens, sequence_s)
    share = rate * (prompt_s + later_tokens * sequence_s)
    assert 0 <= share < 1
    assert 1 / (1 - share) == pytest.approx(times, rel=1e-9)


@given(st.integers(0, 64), st.integers(0, 9), st.floats(0, 1))
def test_what_binds_says_load_where_nobody_waits(running: int, waiting: int, cache: float) -> None:
    said = what_binds(running, 64, waiting, cache)
    assert (said in {"load", "rest"}) == (waiting == 0)
    assert (said == "memory") == (waiting > 0 and cache >= 0.9)
    assert (said == "places") == (waiting > 0 and cache < 0.9 and running == 64)
