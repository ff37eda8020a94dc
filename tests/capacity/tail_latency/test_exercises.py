"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.tail_latency.exercises import (
    best_delay,
    constant_service_twice,
    partial_answer_level,
    samples_to_bound,
    slow_sessions,
)
from serving_mathematics.capacity.tail_latency.hedging_under_load import loaded_quantile


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: slow_sessions([], []), "slow_probabilities must be non-empty"),
        (lambda: slow_sessions([0.1], [-1]), "calls must be non-negative integers, got -1"),
        (lambda: slow_sessions([0.1], [0.5]), "calls must be non-negative integers"),  # type: ignore[list-item]
        (lambda: slow_sessions([math.nan], [1]), "slow_probabilities must be in"),
        (lambda: samples_to_bound(1.0, 0.5), r"percentile must be in \(0, 1\), got 1.0"),
        (lambda: samples_to_bound(0.5, 0.0), r"confidence must be in \(0, 1\), got 0.0"),
        (lambda: partial_answer_level(0.0, 1, 2), r"probability must be in \(0, 1\), got 0.0"),
        (lambda: partial_answer_level(1.0, 1, 2), r"probability must be in \(0, 1\), got 1.0"),
        (lambda: partial_answer_level(0.5, 1, 0), "fan_out must be a positive integer, got 0"),
        (lambda: partial_answer_level(0.5, 0, 2), "needed must be an integer from 1 to 2, got 0"),
        (lambda: best_delay(0.5, 1.0), r"probability must be in \(0, 1\), got 1.0"),
        (lambda: best_delay(-0.5), r"utilization must be in \[0, 1\), got -0.5"),
        (lambda: constant_service_twice(-0.1), r"utilization must be in \[0, 0.5\), got -0.1"),
    ],
)
def test_refusals(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


@given(
    st.lists(st.tuples(st.floats(0, 0.9), st.integers(0, 50)), min_size=1, max_size=6),
)
def test_slow_sessions_by_brute_force(parts: list[tuple[float, int]]) -> None:
    p, n = [a for a, _ in parts], [b for _, b in parts]
    share, worst = slow_sessions(p, n)
    assert share == pytest.approx(1 - math.prod((1 - a) ** b for a, b in parts), abs=1e-12)

    def without(i: int) -> float:
        return slow_sessions([*p[:i], 0.0, *p[i + 1 :]], n)[0]

    assert without(worst) == pytest.approx(min(without(i) for i in range(len(p))), abs=1e-12)


@given(st.floats(0.01, 0.999), st.floats(0.01, 0.999))
def test_samples_to_bound_is_the_smallest(q: float, confidence: float) -> None:
    n = samples_to_bound(q, confidence)
    assert 1 - q**n >= confidence
    assert n == 1 or 1 - q ** (n - 1) < confidence


@given(st.floats(0.01, 0.99), st.integers(1, 60), st.data())
def test_partial_answer_level_is_a_beta_quantile(q: float, n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    level = partial_answer_level(q, k, n)
    assert level == pytest.approx(stats.beta.ppf(q, k, n - k + 1), abs=1e-9)


def test_best_delay_below_a_third_is_early_and_above_late() -> None:
    delays = [best_delay(rho)[0] for rho in (0.1, 0.3, 0.5, 0.7)]
    assert delays == sorted(delays)
    delay, ratio = best_delay(0.3, 0.9)
    for other in (0.9 * delay, 1.1 * delay):
        assert loaded_quantile(0.9, 0.3, other) > loaded_quantile(0.9, 0.3, delay)
    assert ratio == loaded_quantile(0.9, 0.3, delay) / loaded_quantile(0.9, 0.3, math.inf)


def test_best_delay_when_idle_is_both_at_once() -> None:
    delay, ratio = best_delay(0.0)
    assert delay == 0.0
    assert ratio == pytest.approx(0.5)


def test_constant_service_twice_in_light_traffic_and_by_simulation() -> None:
    for rho in (0.001, 0.01):
        alone, twice = constant_service_twice(rho)
        assert alone - 1 == pytest.approx(rho / 2, rel=2 * rho)
        # Both copies wait only if both servers are busy: the smaller of two uniform residuals.
        assert twice - 1 == pytest.approx((2 * rho) ** 2 / 3, rel=10 * rho)
    assert constant_service_twice(0.49)[1] > 5
