"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from scipy import integrate
from serving_mathematics.definitions.slo_sla.exercises import (
    longest_outage,
    promise_to_make,
    series_downtime_exceeds,
    unnoticed,
)
from serving_mathematics.definitions.slo_sla.monthly_attainment import downtime_exceeds


def test_longest_outage() -> None:
    assert longest_outage(0.99, 31, 1.0) == pytest.approx(0.31 * 86_400)
    assert longest_outage(0.99, 31, 0.1) == pytest.approx(3.1 * 86_400)
    for bad in ((1.0, 30, 1.0), (0.9, 32, 1.0), (0.9, 30, 0.0)):
        with pytest.raises(ValueError, match="must be"):
            longest_outage(*bad)


def test_unnoticed_shares() -> None:
    assert unnoticed(10.0, 60.0, 3600.0, 14.4) == (1.0, 1.0)
    assert unnoticed(14.4, 3600.0, 3600.0, 14.4) == (1.0, 1.0)
    incidents, budget = unnoticed(1000.0, 600.0, 3600.0, 14.4)
    expected, _ = integrate.quad(lambda x: x * math.exp(-x / 600) / 600**2, 0, 51.84)
    assert incidents == pytest.approx(1 - math.exp(-51.84 / 600))
    assert budget == pytest.approx(expected)
    for bad in ((0.0, 1, 1, 1), (2, 0.0, 1, 1), (2, 1, 0.0, 1), (2, 1, 1, math.inf)):
        with pytest.raises(ValueError, match="must be"):
            unnoticed(*bad)


def test_promise_to_make() -> None:
    promise = promise_to_make(5.0, 60.0, 86_400.0, 0.1)
    assert 0 < promise < 1
    assert downtime_exceeds((1 - promise) * 86_400, 5.0, 60.0) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="period_s must be"):
        promise_to_make(1.0, 1.0, 0.0, 0.1)


def test_series_of_parts() -> None:
    assert series_downtime_exceeds(60.0, 4, 2.0, 60.0, 1.0) == downtime_exceeds(60.0, 2.0, 60.0)
    got = series_downtime_exceeds(60.0, 4, 2.0, 60.0, 0.25)
    assert got == pytest.approx(downtime_exceeds(60.0, 6.5, 60.0))
    for parts in (0, 1.5):
        with pytest.raises(ValueError, match="parts must be"):
            series_downtime_exceeds(1.0, parts, 1.0, 1.0, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shared must be"):
        series_downtime_exceeds(1.0, 2, 1.0, 1.0, -0.1)
