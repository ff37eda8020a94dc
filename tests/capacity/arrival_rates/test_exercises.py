"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.arrival_rates.arrival_models import (
    mmpp_mean_time,
    switching_generator,
)
from serving_mathematics.capacity.arrival_rates.exercises import (
    load_test_time,
    measured_peak,
    routed_dispersion,
    service_rate_for,
    windows_to_detect,
)

BURSTY = switching_generator((0.1, 0.05))


def test_load_test_between_its_limits() -> None:
    times = [load_test_time(k, 4.0, 5.0) for k in (0.1, 0.5, 1.0, 2.0, 10.0, 1e6)]
    assert times == sorted(times, reverse=True)
    sigma = 0.6
    for _ in range(200):
        sigma = math.exp(-5.0 * (1 - sigma) / 4.0)  # D/M/1
    assert times[-1] == pytest.approx(1 / (5 * (1 - sigma)), rel=1e-5)
    assert load_test_time(1.0, 4.0, 5.0) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((0.0, 4.0, 5.0), "burstiness must be positive"),
        ((math.inf, 4.0, 5.0), "burstiness must be positive"),
        ((1.0, 0.0, 5.0), "arrival_rate must be positive"),
        ((1.0, math.nan, 5.0), "arrival_rate must be positive"),
        ((1.0, 5.0, 5.0), "service_rate must be finite and above the arrival rate 5"),
        ((1.0, 4.0, math.inf), "service_rate must be finite and above"),
    ],
)
def test_bad_load_test(arguments: tuple[float, float, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        load_test_time(*arguments)


@given(st.floats(0, 50), st.floats(0.01, 1), st.floats(0.01, 1))
def test_routing_twice_is_routing_once(index: float, first: float, second: float) -> None:
    twice = routed_dispersion(routed_dispersion(index, first), second)
    assert twice == pytest.approx(routed_dispersion(index, first * second), abs=1e-9)
    assert routed_dispersion(index, 1.0) == pytest.approx(index, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((-0.1, 0.5), "dispersion must be non-negative"),
        ((math.inf, 0.5), "dispersion must be non-negative"),
        ((2.0, 0.0), "share must be in"),
        ((2.0, 1.01), "share must be in"),
        ((2.0, math.nan), "share must be in"),
    ],
)
def test_bad_routing(arguments: tuple[float, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        routed_dispersion(*arguments)


@pytest.mark.parametrize("index", [1.05, 1.12, 1.5, 2.0, 5.0, 50.0])
@pytest.mark.parametrize(("alarm", "power"), [(0.05, 0.9), (0.01, 0.8), (0.2, 0.99)])
def test_windows_against_exact_quantiles(index: float, alarm: float, power: float) -> None:
    def detected(freedom: int) -> float:
        return float(stats.chi2.sf(stats.chi2.isf(alarm, freedom) / index, freedom))

    windows = windows_to_detect(index, alarm, power)
    slack = max(2, round(0.01 * windows))
    assert detected(windows - 1 + slack) >= power
    assert windows - 1 - slack < 1 or detected(windows - 1 - slack) < power


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((1.0,), "dispersion must be finite and above 1"),
        ((math.inf,), "dispersion must be finite and above 1"),
        ((2.0, 0.0), "false_alarm must be in"),
        ((2.0, 1.0), "false_alarm must be in"),
        ((2.0, 0.5, 0.5), "power must be in"),
        ((2.0, 0.05, 1.0), "power must be in"),
    ],
)
def test_bad_windows_to_detect(arguments: tuple[float, ...], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        windows_to_detect(*arguments)


@pytest.mark.parametrize("target", [0.01, 0.1, 1.0, 26.0, 1e4])
def test_server_for_a_target_is_the_slowest(target: float) -> None:
    rate = service_rate_for(target, (10.0, 1.0), BURSTY)
    assert mmpp_mean_time((10.0, 1.0), BURSTY, rate) <= target * (1 + 1e-9)
    assert mmpp_mean_time((10.0, 1.0), BURSTY, rate * (1 - 1e-7)) > target


@pytest.mark.parametrize("target", [0.0, -1.0, math.nan, math.inf])
def test_bad_target(target: float) -> None:
    with pytest.raises(ValueError, match="target_time_s must be positive and finite"):
        service_rate_for(target, (10.0, 1.0), BURSTY)


def test_peak_of_a_mixture_lies_between_its_parts() -> None:
    short = measured_peak([1.0], 10.0, 5.0, 24.0)
    long = measured_peak([5.0], 10.0, 5.0, 24.0)
    mixed = measured_peak([1.0, 5.0], 10.0, 5.0, 24.0)
    assert short[1] == pytest.approx(0.5)
    assert long[1] == pytest.approx(2.5)
    assert short[1] < mixed[1] < long[1]
    assert mixed[0] < (short[0] + long[0]) / 2
    whole_day = measured_peak([24.0], 10.0, 5.0, 24.0)
    assert whole_day[0] == pytest.approx(240.0)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (([], 1.0, 0.5, 24.0), "durations_s must be positive"),
        (([[1.0]], 1.0, 0.5, 24.0), "durations_s must be positive"),
        (([0.0], 1.0, 0.5, 24.0), "durations_s must be positive"),
        (([math.inf], 1.0, 0.5, 24.0), "durations_s must be positive"),
        (([1.0], 0.0, 0.0, 24.0), "mean_rate must be positive"),
        (([1.0], 1.0, 1.1, 24.0), "amplitude must be in"),
        (([1.0], 1.0, -0.1, 24.0), "amplitude must be in"),
        (([1.0], 1.0, 0.5, math.nan), "period_s must be positive"),
    ],
)
def test_bad_peak(arguments: tuple[list[float], float, float, float], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        measured_peak(*arguments)
