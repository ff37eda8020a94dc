"""Spans of alerts: the failure budgets' times, limits, monotony and errors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.slo_sla.alert_spans import alert_span
from serving_mathematics.intuition.failure_budgets.failure_budgets import detection_time, reset_time


@given(st.floats(0.015, 1.0))
def test_span_agrees_with_the_failure_budgets(error_rate: float) -> None:
    burn = error_rate / (1 - 0.999)
    began, stopped = alert_span(burn, 7200.0, 3600.0, 300.0, 14.4)
    assert began == pytest.approx(detection_time(error_rate, 0.999, 14.4, 3600.0))
    assert stopped - 7200 == pytest.approx(reset_time(error_rate, 0.999, 14.4, 300.0))


def test_incidents_that_are_not_noticed() -> None:
    assert alert_span(14.4, 1e6, 3600.0, 300.0, 14.4) == (math.inf, math.inf)
    assert alert_span(28.8, 1800.0, 3600.0, 300.0, 14.4) == (math.inf, math.inf)
    assert alert_span(28.8, 1800.1, 3600.0, 300.0, 14.4) == (1800.0, 1950.1)


def test_windows_of_the_same_length() -> None:
    began, stopped = alert_span(4.0, 100.0, 60.0, 60.0, 1.0)
    assert (began, stopped) == (15.0, 145.0)
