"""Thinning and the daily cycle of requests in progress."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.capacity.arrival_rates.daily_cycle import (
    busy_mean,
    example,
    peak_busy,
    peak_lag,
    thinned_arrivals,
)

positive = st.floats(0.01, 100)


@given(positive, st.floats(0, 1), positive, positive)
def test_the_peak_is_where_the_lag_says(
    rate: float, share: float, period: float, service: float
) -> None:
    cycle = (rate, share * rate, period, service)
    lag, peak = peak_lag(period, service), peak_busy(*cycle)
    assert 0 < lag <= service * (1 + 1e-12)
    assert lag < period / 4
    assert busy_mean(period / 4 + lag, *cycle) == pytest.approx(peak, rel=1e-9)
    day = busy_mean(np.linspace(0, period, 101), *cycle)
    assert day.shape == (101,)
    assert day.max() <= peak * (1 + 1e-12)
    assert day[:-1].mean() == pytest.approx(rate * service, rel=1e-9)
    assert day[0] == pytest.approx(day[-1], rel=1e-6, abs=1e-9 * peak)


@pytest.mark.parametrize("time", [0.0, 3.0, 10.0, 50.0])
def test_the_mean_is_the_convolution_with_the_survival(time: float) -> None:
    rate, swing, period, service = 5.0, 4.0, 24.0, 2.5
    value, _ = integrate.quad(
        lambda u: (
            (rate + swing * math.sin(2 * math.pi * (time - u) / period)) * math.exp(-u / service)
        ),
        0,
        120,
        limit=400,
    )
    got = busy_mean(time, rate, swing, period, service)
    assert got == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize(
    ("cycle", "rule"),
    [
        ((1.0, 1.1, 1.0, 1.0), r"amplitude must be in \[0, 1\], the mean rate"),
        ((1.0, -0.1, 1.0, 1.0), r"amplitude must be in \[0, 1\], the mean rate"),
        ((1.0, math.nan, 1.0, 1.0), r"amplitude must be in \[0, 1\], the mean rate"),
    ],
)
def test_bad_cycles(cycle: tuple[float, float, float, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        peak_busy(*cycle)
    with pytest.raises(ValueError, match=rule):
        busy_mean([0.0], *cycle)


def test_amplitude_may_be_nothing_or_all() -> None:
    assert peak_busy(2.0, 0.0, 9.0, 3.0) == 6
    assert busy_mean([1.0, 2.0], 2.0, 0.0, 9.0, 3.0).tolist() == [6, 6]
    assert 6 < peak_busy(2.0, 2.0, 9.0, 3.0) < 12


def test_thinned_times_follow_the_rate() -> None:
    times = thinned_arrivals(np.random.default_rng(5), lambda t: 2 * t, 40.0, 20.0)
    assert np.all(np.diff(times) >= 0)
    assert times.size == pytest.approx(400, abs=4 * 20)
    assert stats.kstest(times, lambda t: (t / 20) ** 2).pvalue > 1e-3


def test_a_constant_rate_at_the_ceiling_keeps_everything() -> None:
    rng, again = np.random.default_rng(3), np.random.default_rng(3)
    kept = thinned_arrivals(rng, lambda t: 5.0 + 0 * t, 5.0, 100.0)
    assert kept.size == again.poisson(500.0)
    assert thinned_arrivals(rng, lambda t: 0 * t, 5.0, 100.0).size == 0


@pytest.mark.parametrize(
    ("rate", "ceiling", "horizon", "rule"),
    [
        (
            lambda t: 9 + 0 * t,
            5.0,
            99.0,
            r"rate must be in \[0, 5\], the ceiling, got \(9.0, 9.0\)",
        ),
        (
            lambda t: -2 + 0 * t,
            5.0,
            99.0,
            r"rate must be in \[0, 5\], the ceiling, got \(-2.0, -2.0\)",
        ),
        (lambda t: t - 1, 99.0, 99.0, r"rate must be in \[0, 99\], the ceiling"),
        (lambda t: t * math.nan, 99.0, 99.0, r"rate must be in \[0, 99\], the ceiling"),
        (lambda t: t[:1], 5.0, 99.0, "rate must be of shape"),
    ],
)
def test_bad_thinning(rate: object, ceiling: float, horizon: float, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        thinned_arrivals(np.random.default_rng(1), rate, ceiling, horizon)


def test_numbers_of_the_page_by_hand() -> None:
    """160 an hour at the peak for half an hour each; the swing damped and late by ω/2 [rad]."""
    shown, turn = example(), 2 * math.pi / 24 / 2
    assert shown.day_naive_peak == pytest.approx(80.0, rel=1e-12)
    assert shown.day_peak == pytest.approx(50 + 30 / math.hypot(1, turn), rel=1e-12)
    assert shown.day_lag_min == pytest.approx(24 * 60 / (2 * math.pi) * math.atan(turn), rel=1e-12)
