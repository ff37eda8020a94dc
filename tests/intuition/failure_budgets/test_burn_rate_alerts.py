"""Alerts on counts: a loop over windows as oracle, spans in closed form, errors."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import (
    alert_firing,
    alert_span,
    errors_to_fire,
)


def test_a_rate_at_the_threshold_does_not_fire() -> None:
    assert errors_to_fire(625, 0.999, 14.4) == 10  # 14.4 · 0.001 · 625 = 9 exactly
    assert errors_to_fire([[0, 1000]], 0.999, 1.0).tolist() == [[1, 2]]


def brute_firing(
    requests: list[int], errors: list[int], long: int, short: int, slo: float, burn: float
) -> list[bool]:
    fires = []
    for end in range(1, len(requests) + 1):
        rates = []
        for window in (long, short):
            start = max(0, end - window)
            total = sum(requests[start:end])
            rates.append(sum(errors[start:end]) - burn * (1 - slo) * total > 1e-9)
        fires.append(end >= long and all(rates))
    return fires


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=30),
    st.integers(1, 6),
    st.integers(0, 6),
)
def test_firing_equals_a_loop_over_windows(
    counts: list[tuple[int, int]], short: int, more: int
) -> None:
    requests = [n for n, _ in counts]
    errors = [min(x, n) for n, x in counts]
    long = short + more
    got = alert_firing(requests, errors, long, short, 0.9, 2.0)
    assert got.tolist() == brute_firing(requests, errors, long, short, 0.9, 2.0)
    rows = alert_firing([requests] * 2, [errors] * 2, long, short, 0.9, 2.0)
    assert rows.tolist() == [got.tolist()] * 2


def test_incidents_that_are_not_noticed() -> None:
    assert alert_span(14.4, 1e6, 3600.0, 300.0, 14.4) == (math.inf, math.inf)
    assert alert_span(28.8, 1800.0, 3600.0, 300.0, 14.4) == (math.inf, math.inf)
    assert alert_span(28.8, 1800.1, 3600.0, 300.0, 14.4) == (1800.0, 1950.1)


def test_windows_of_the_same_length() -> None:
    assert alert_span(4.0, 100.0, 60.0, 60.0, 1.0) == (15.0, 145.0)
