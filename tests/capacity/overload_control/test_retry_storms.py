"""Amplification, fixed points and the metastable band against other ways to the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from serving_mathematics.capacity.overload_control.overload_control import (
    bounded_goodput,
    fifo_goodput,
)
from serving_mathematics.capacity.overload_control.retry_storms import (
    DEADLINE_S,
    SERVICE_RATE,
    FixedPoint,
    example,
    fixed_points,
    late_probability,
    metastable_band,
    retry_amplification,
)


def late(rate: float) -> float:
    return late_probability(rate, 100.0, 0.1)


@given(st.floats(0.1, 500), st.floats(0.1, 500), st.floats(1e-3, 10))
def test_late_and_goodput_share_the_arrivals(rate: float, service: float, deadline: float) -> None:
    in_time = fifo_goodput(rate, service, deadline) / rate
    assert late_probability(rate, service, deadline) + in_time == pytest.approx(1.0)


@given(st.floats(0, 0.999), st.integers(0, 12))
def test_amplification_is_a_geometric_sum(failure: float, retries: int) -> None:
    expected = (1 - failure ** (retries + 1)) / (1 - failure)
    assert retry_amplification(failure, retries) == pytest.approx(expected)


def test_amplification_edges() -> None:
    assert retry_amplification(1.0, 3) == 4.0
    assert retry_amplification(0.0, 3) == 1.0
    assert retry_amplification(1.0, 3, budget=0.0) == 1.0
    assert retry_amplification(0.05, 3, budget=0.1) == retry_amplification(0.05, 3)


@given(st.floats(5, 99), st.integers(1, 5))
def test_fixed_points_reproduce_themselves(base: float, retries: int) -> None:
    points = fixed_points(base, late, retries)
    assert len(points) in (1, 3)
    for point in points:
        generated = base * retry_amplification(late(point.rate), retries)
        assert generated == pytest.approx(point.rate, rel=1e-9)
    assert [point.stable for point in points] == [True, False, True][: len(points)]
    rates = [point.rate for point in points]
    assert rates == sorted(rates)


def test_fixed_points_agree_with_a_root_finder() -> None:
    def surplus(rate: float) -> float:
        return 60 * retry_amplification(late(rate), 3) - rate

    roots = [optimize.brentq(surplus, *pair) for pair in ((50, 70), (80, 95), (200, 250))]
    assert [point.rate for point in fixed_points(60.0, late, 3)] == pytest.approx(roots)


def test_no_retries_change_nothing() -> None:
    (only,) = fixed_points(60.0, late, 0)
    assert only.rate == pytest.approx(60.0)
    assert only.stable
    assert only == FixedPoint(only.rate, True)
    (sure,) = fixed_points(60.0, lambda _: 0.0, 3)
    assert sure.rate == pytest.approx(60.0)


@pytest.mark.parametrize("retries", [1, 2, 3, 5])
def test_band_by_counting_fixed_points(retries: int) -> None:
    band = metastable_band(late, retries, 200.0)
    assert band is not None
    low, high = band
    assert low == pytest.approx(100 / (1 + retries), rel=1e-9)
    for base in np.linspace(low * 1.01, high * 0.999, 7):
        assert len(fixed_points(float(base), late, retries)) == 3
    for base in (low * 0.99, high * 1.001):
        assert len(fixed_points(base, late, retries)) == 1
    peak = max(
        x / retry_amplification(late(x), retries) for x in np.linspace(1, 99.9, 40_000).tolist()
    )
    assert high == pytest.approx(peak, rel=1e-7)


@pytest.mark.parametrize("scale", [1.0, 0.002, 37.0])
@pytest.mark.parametrize("reach", [143.7, 193.0, 411.0])
def test_band_depends_neither_on_the_grid_nor_on_the_unit(scale: float, reach: float) -> None:
    def scaled(rate: float) -> float:
        return late_probability(rate, 100 * scale, 0.1 / scale)

    band = metastable_band(scaled, 3, reach * scale)
    assert band == pytest.approx((25 * scale, 69.371737091 * scale), rel=1e-9)


def test_no_band_without_retries_or_with_few_places() -> None:
    assert metastable_band(late, 0, 200.0) is None
    assert metastable_band(lambda x: 1 - bounded_goodput(x, 100.0, 0.1, 6) / x, 3, 500.0) is None
    many = metastable_band(lambda x: 1 - bounded_goodput(x, 100.0, 0.1, 30) / x, 3, 500.0)
    assert many is not None


def test_a_budget_moves_the_collapse() -> None:
    collapsed = fixed_points(95.0, late, 3, budget=0.1)[-1]
    assert collapsed.rate == pytest.approx(104.5)
    assert len(fixed_points(65.0, late, 3, budget=0.1)) == 1


def test_the_rates_of_the_page_balance_sixty_first_attempts() -> None:
    """What arrives is 60 a second and a retry of each attempt that failed, three times at most."""
    shown = example()
    for rate in (shown.healthy_rate, shown.tipping_rate, shown.collapsed_rate):
        late = 1 - fifo_goodput(rate, SERVICE_RATE, DEADLINE_S) / rate
        assert rate == pytest.approx(60 * (1 + late + late**2 + late**3), rel=1e-6)
