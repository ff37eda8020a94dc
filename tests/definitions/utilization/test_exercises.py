"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from serving_mathematics.core.queues.erlang import (
    erlang_c,
    max_utilization,
    mean_wait,
)
from serving_mathematics.definitions.utilization.exercises import (
    busy_from_log,
    max_pool_utilization,
    pooled_and_split_waits,
    response_exceeds,
)

from tests.definitions.utilization.test_pooling import BAD_NUMBERS, RHO, SERVERS


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


@given(SERVERS, RHO, st.floats(0.0, 20.0))
def test_response_tail_by_convolution(servers: int, rho: float, slowdown: float) -> None:
    waiting, drain = erlang_c(servers, rho * servers), servers * (1 - rho)
    joint, _ = integrate.quad(
        lambda s: math.exp(-s) * waiting * math.exp(-drain * (slowdown - s)), 0, slowdown
    )
    expected = math.exp(-slowdown) + joint
    assert response_exceeds(slowdown, rho, servers) == pytest.approx(expected, rel=1e-8, abs=1e-13)


def test_response_tail_where_both_exponentials_agree() -> None:
    near = response_exceeds(2.0, 0.75 - 1e-9, 4)
    assert response_exceeds(2.0, 0.75, 4) == pytest.approx(near, rel=1e-8)
    assert response_exceeds(2.0, 0.75, 4) == pytest.approx(
        math.exp(-2) * (1 + 2 * erlang_c(4, 3.0))
    )
    assert response_exceeds(0.0, 0.75, 4) == 1


@given(st.floats(0.5, 0.999), st.floats(1.05, 20.0), st.integers(1, 30))
def test_pool_limit_meets_the_target_and_grows(
    probability: float, factor: float, servers: int
) -> None:
    slowdown = -math.log1p(-probability) * factor
    limit = max_pool_utilization(probability, slowdown, servers)
    assert response_exceeds(slowdown, limit, servers) <= 1 - probability
    assert limit >= max_utilization(probability, slowdown) - 1e-9
    if limit + 1e-6 < 1:
        assert response_exceeds(slowdown, limit + 1e-6, servers) > 1 - probability


def test_pool_errors() -> None:
    for bad in BAD_NUMBERS:
        with pytest.raises(ValueError, match="slowdown must be non-negative and finite"):
            response_exceeds(bad, 0.5, 2)
        with pytest.raises(ValueError, match=r"utilization must be in \[0, 1\)"):
            response_exceeds(1.0, bad, 2)
        with pytest.raises(ValueError, match=r"probability must be in \(0, 1\)"):
            max_pool_utilization(bad, 10.0, 2)
        with pytest.raises(ValueError, match="slowdown must be finite and above"):
            max_pool_utilization(0.9, bad, 2)
    with pytest.raises(ValueError, match="servers must be a positive integer"):
        max_pool_utilization(0.9, 10.0, 0)
    for edge in (0.0, 1.0):
        with pytest.raises(ValueError, match="probability must be"):
            max_pool_utilization(edge, 10.0, 2)
    with pytest.raises(ValueError, match="slowdown must be finite and above"):
        max_pool_utilization(0.5, math.log(2), 2)


@given(RHO, st.floats(0.01, 0.99))
def test_split_of_equal_requests_is_two_half_queues(rho: float, share: float) -> None:
    if max(share, 1 - share) * 2 * rho >= 0.999:
        return
    pooled, short, long = pooled_and_split_waits(rho, share, 1.0)
    assert pooled == pytest.approx(mean_wait(2 * rho, 1.0, 2) / 2)  # constant lengths: half M/M/2
    for wait, part in ((short, 1 - share), (long, share)):
        assert wait == pytest.approx(mean_wait(2 * rho * part, 1.0) / 2)


def test_split_by_hand() -> None:
    # f = 1/4, k = 5: mean 2, second moment 1/4·25 + 3/4 = 7, C² = 7/4 − 1; ρ = 0.4, rate 0.4
    pooled, short, long = pooled_and_split_waits(0.4, 0.25, 5.0)
    assert pooled == pytest.approx(mean_wait(0.4, 2.0, 2) * (1 + 0.75) / 2)
    assert short == pytest.approx(0.3 / 0.7 / 2)
    assert long == pytest.approx(0.5 / 0.5 / 2 * 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.1, 2.0), r"utilization must be in \(0, 1\)"),
        ((1.0, 0.1, 2.0), r"utilization must be in \(0, 1\)"),
        ((math.nan, 0.1, 2.0), r"utilization must be in \(0, 1\)"),
        ((0.5, 0.0, 2.0), r"long_share must be in \(0, 1\)"),
        ((0.5, 1.0, 2.0), r"long_share must be in \(0, 1\)"),
        ((0.5, 0.1, 0.9), "stretch must be finite and ≥ 1"),
        ((0.5, 0.1, math.inf), "stretch must be finite and ≥ 1"),
        ((0.6, 0.1, 100.0), "utilization of each class's server must be below 1"),
    ],
)
def test_bad_splits_are_refused(arguments: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pooled_and_split_waits(*arguments)


def test_example_of_the_page() -> None:
    assert np.isclose(max_pool_utilization(0.99, 10.0, 8), 0.9362949, atol=5e-8)
