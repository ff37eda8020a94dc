"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

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


def test_log_without_services_is_idle() -> None:
    assert busy_from_log([], [], 2, 0.0, 1.0) == (0.0, 0.0)
    assert busy_from_log([5.0], [6.0], 1, 0.0, 5.0) == (0.0, 0.0)
    assert busy_from_log([-9.0], [9.0], 1, 0.0, 4.0) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (([[0.0]], [[1.0]], 1, 0.0, 1.0), "start_s must be of one dimension"),
        (([0.0], [1.0, 2.0], 1, 0.0, 1.0), r"end_s must be of shape \(1,\)"),
        (([math.nan], [1.0], 1, 0.0, 1.0), "start_s must be finite"),
        (([0.0], [math.inf], 1, 0.0, 1.0), "end_s must be finite and ≥ start_s"),
        (([0.0], [-1.0], 1, 0.0, 1.0), "end_s must be finite and ≥ start_s"),
        (([0.0], [1.0], 0, 0.0, 1.0), "servers must be a positive integer"),
        (([0.0], [1.0], 1, -math.inf, 1.0), "window_start_s must be finite"),
        (([0.0], [1.0], 1, 0.0, math.inf), "window_end_s must be finite and after"),
        (([0.0], [1.0], 1, 1.0, 1.0), "window_end_s must be finite and after"),
        (([0.0, 0.5], [1.0, 1.0], 1, 0.0, 1.0), "busy time in the log"),
    ],
)
def test_bad_logs_are_refused(
    log: tuple[list[float], list[float], int, float, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        busy_from_log(*log)


@given(st.floats(1.0, 50.0), st.floats(1e-4, 1.0), st.integers(0, 5000), st.floats(0.0, 0.01))
def test_rate_that_slows_gives_back_the_slowness(
    times: float, prompt_s: float, later_tokens: int, sequence_s: float
) -> None:
    rate = rate_that_slows(times, prompt_s, later_tokens, sequence_s)
    share = rate * (prompt_s + later_tokens * sequence_s)
    assert 0 <= share < 1
    assert 1 / (1 - share) == pytest.approx(times, rel=1e-9)


def test_a_request_that_costs_nothing_slows_nobody() -> None:
    with pytest.raises(ValueError, match="own_s must be positive"):
        rate_that_slows(2.0, 0.0, 0.0, 0.1)


@given(st.integers(0, 64), st.integers(0, 9), st.floats(0, 1))
def test_what_binds_says_load_where_nobody_waits(running: int, waiting: int, cache: float) -> None:
    said = what_binds(running, 64, waiting, cache)
    assert (said in {"load", "rest"}) == (waiting == 0)
    assert (said == "memory") == (waiting > 0 and cache >= 0.9)
    assert (said == "places") == (waiting > 0 and cache < 0.9 and running == 64)


@pytest.mark.parametrize("bad", [math.nan, -0.1, 1.1])
def test_a_cache_is_a_share(bad: float) -> None:
    with pytest.raises(ValueError, match=r"cache must be in \[0, 1\]"):
        what_binds(1, 2, 1, bad)
