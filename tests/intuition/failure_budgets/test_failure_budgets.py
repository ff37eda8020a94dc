"""Budgets, burn rates and the exercises: identities, limits, scipy as oracle, errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.failure_budgets.failure_budgets import (
    budget_spent,
    burn_rate,
    burn_threshold,
    detection_time,
    error_budget,
    exhaustion_time,
    reset_time,
)

SLOS = st.floats(0.5, 0.99999)
RATES = st.floats(1e-6, 1.0)
TIMES = st.floats(1.0, 1e7)


@given(SLOS, RATES, TIMES, TIMES)
def test_spending_until_exhaustion_spends_what_remained(
    slo: float, rate: float, period: float, other: float
) -> None:
    burn = burn_rate(rate, slo)
    remaining = min(other / 1e7, 1.0)
    time = exhaustion_time(burn, period, remaining)
    assert budget_spent(burn, time, period) == pytest.approx(remaining)
    assert exhaustion_time(burn, period) == pytest.approx(time / remaining)


@given(SLOS, RATES, TIMES)
def test_errors_of_the_whole_period_are_the_budget_times_burn(
    slo: float, rate: float, total: float
) -> None:
    assert rate * total == pytest.approx(burn_rate(rate, slo) * error_budget(slo, total))


@given(SLOS, RATES, st.floats(0.001, 1.0), TIMES, st.floats(0.001, 1.0))
def test_an_alert_fires_when_its_share_of_the_budget_is_spent(
    slo: float, rate: float, spend: float, period: float, part: float
) -> None:
    window = part * period
    threshold = burn_threshold(spend, window, period)
    time = detection_time(rate, slo, threshold, window)
    burn = burn_rate(rate, slo)
    if burn > threshold:
        assert budget_spent(burn, time, period) == pytest.approx(spend)
        assert time + reset_time(rate, slo, threshold, window) == pytest.approx(window)
    else:
        assert time == math.inf
        assert reset_time(rate, slo, threshold, window) == 0


def test_limits() -> None:
    assert burn_rate(0.0, 0.9) == 0
    assert burn_rate(1.0, 0.75) == 4
    assert budget_spent(0.0, 5.0, 1.0) == 0
    assert exhaustion_time(2.0, 10.0, remaining=0.0) == 0
    assert burn_threshold(1.0, 10.0, 10.0) == 1
    assert detection_time(0.25, 0.75, 1.0, 60.0) == math.inf  # at the threshold, not above it
    assert detection_time(0.5, 0.75, 1.0, 60.0) == 30
