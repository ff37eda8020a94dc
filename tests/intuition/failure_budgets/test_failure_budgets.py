"""Budgets: identities between speed, time and threshold, limits, errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import alert_span
from serving_mathematics.intuition.failure_budgets.failure_budgets import (
    burn_rate,
    burn_threshold,
    exhaustion_time,
)

SLOS = st.floats(0.5, 0.99999)
RATES = st.floats(1e-6, 1.0)
TIMES = st.floats(1.0, 1e7)


@given(SLOS, RATES, TIMES)
def test_at_its_burn_rate_a_budget_is_spent_exactly(slo: float, rate: float, period: float) -> None:
    gone = exhaustion_time(burn_rate(rate, slo), period)
    assert rate * gone == pytest.approx((1 - slo) * period)


@given(RATES, st.floats(0.001, 1.0), TIMES, st.floats(0.001, 1.0))
def test_an_alert_fires_when_its_share_of_the_budget_is_spent(
    rate: float, spend: float, period: float, part: float
) -> None:
    window, burn = part * period, burn_rate(rate, 0.999)
    threshold = burn_threshold(spend, window, period)
    fires = alert_span(burn, period, window, window / 12, threshold)[0]
    if burn > threshold and fires < period:
        assert fires / exhaustion_time(burn, period) == pytest.approx(spend)
    else:
        assert fires == math.inf


def test_limits() -> None:
    assert burn_rate(0.0, 0.9) == 0
    assert burn_rate(1.0, 0.75) == 4
    assert exhaustion_time(2.0, 10.0, remaining=0.0) == 0
    assert exhaustion_time(2.0, 10.0, remaining=0.5) == 2.5
    assert burn_threshold(1.0, 10.0, 10.0) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_bad_numbers_are_named(bad: float) -> None:
    with pytest.raises(ValueError, match=r"slo must be in \(0, 1\)"):
        burn_rate(0.1, bad)
    with pytest.raises(ValueError, match=r"error_rate must be in \[0, 1\]"):
        burn_rate(bad, 0.9)
    with pytest.raises(ValueError, match="burn must be positive and finite"):
        exhaustion_time(bad, 1.0)
    with pytest.raises(ValueError, match=r"remaining must be in \[0, 1\]"):
        exhaustion_time(1.0, 1.0, bad)
    with pytest.raises(ValueError, match=r"spend must be in \(0, 1\]"):
        burn_threshold(bad, 1.0, 1.0)
    with pytest.raises(ValueError, match="window_s must be positive and at most period_s"):
        burn_threshold(0.1, bad, 1.0)
