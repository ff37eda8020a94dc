"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import alert_firing
from serving_mathematics.intuition.failure_budgets.exercises import (
    errors_worth_a_page,
    hours_left,
    verdict,
)


@given(st.floats(0.5, 0.9999), st.floats(1, 90), st.floats(1e-4, 1), st.floats(0, 1))
def test_hours_left_spend_what_was_left(slo: float, days: float, rate: float, left: float) -> None:
    hours = hours_left(slo, days, rate, left)
    assert hours * rate == pytest.approx(left * days * 24 * (1 - slo), abs=1e-12)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)), min_size=12, max_size=12),
    st.integers(1, 20),
)
def test_verdict_is_what_the_alert_does(counts: list[tuple[int, int]], least: int) -> None:
    requests = [n for n, _ in counts]
    errors = [min(x, n) for n, x in counts]
    long = (sum(requests), sum(errors))
    told = verdict(long, (requests[-1], errors[-1]), 0.99, 14.4, least)
    fires = bool(alert_firing(requests, errors, 12, 1, 0.99, 14.4)[-1])
    assert (told in {"page", "too few"}) == fires
    assert (told == "page") == (fires and long[1] >= least)


@pytest.mark.parametrize(("load", "rate", "wanted"), [(10, 0.01, 1.0), (120, 0.001, 0.1)])
def test_guard_is_the_smallest_count_within_the_bound(
    load: int, rate: float, wanted: float
) -> None:
    k = errors_worth_a_page(load, rate, wanted)
    bounds = [720 * load * rate * stats.binom.sf(j - 2, load, rate) for j in (k - 1, k)]
    assert bounds[1] <= wanted < bounds[0]


def test_limits() -> None:
    assert hours_left(0.9, 10.0, 0.5, 0.0) == 0
    assert verdict((0, 0), (0, 0), 0.999, 1.0, 1) == "quiet"
    assert errors_worth_a_page(1, 0.001, 1.0) == 1
    assert errors_worth_a_page(1, 0.001, 0.5) == 2
