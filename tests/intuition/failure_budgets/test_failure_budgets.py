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
