"""Counts, the dispersion test and the heavy-traffic delay; and the exercises of the chapter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity import arrival_rates as chapter
from serving_mathematics.capacity.arrival_models import mmpp_mean_time, switching_generator
from serving_mathematics.capacity.arrival_rates import (
    chi_square_tail,
    dispersion_index,
    dispersion_mean_work,
    dispersion_p_value,
    gap_cv,
    window_counts,
)
from serving_mathematics.capacity.exercises.arrival_rates import (
    load_test_time,
    measured_peak,
    routed_dispersion,
    service_rate_for,
    windows_to_detect,
)

BURSTY = switching_generator((0.1, 0.05))
sorted_times = st.lists(
    st.floats(-1e3, 1e3, allow_nan=False).map(lambda x: round(x, 3)), min_size=3, max_size=60
).map(sorted)


@given(sorted_times, st.floats(0.05, 0.5))
def test_counts_are_those_of_a_histogram(times: list[float], share: float) -> None:
    span = times[-1] - times[0]
    if span < 0.1:
        return
    window = share * span
    counts = window_counts(times, window)
    assert counts.size == math.floor(span / window)
    since = np.array(times) - times[0]
    for k, count in enumerate(counts):
        assert count == sum(math.floor(t / window) == k for t in since)


def test_windows_do_not_depend_on_the_clock() -> None:
    times = np.cumsum(np.random.default_rng(1).exponential(0.25, 500))
    counts = window_counts(times, 1.7)
    assert counts.tolist() == window_counts(times + 2**20, 1.7).tolist()
    assert counts.sum() <= 500
    assert window_counts([0.0, 1.0, 2.0], 1.0).tolist() == [1, 1]


def test_a_window_may_be_half_the_span_and_a_ten_millionth_but_no_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert window_counts([0, 1, 4], 2.0).tolist() == [2, 0]
    monkeypatch.setattr(chapter, "MAX_WINDOWS", 4)
    assert window_counts([0, 1, 4], 1.0).tolist() == [1, 1, 0, 0]
    with pytest.raises(ValueError, match="window_s must be between 1 and 2, half the span"):
        window_counts([0, 1, 4], 0.99)


@pytest.mark.parametrize("window", [2.01, 0.0, -1.0, math.nan, math.inf])
def test_windows_that_do_not_fit(window: float) -> None:
    with pytest.raises(ValueError, match="window_s must be between"):
        window_counts([0, 1, 4], window)


def test_gap_cv_of_regular_and_of_two_valued_gaps() -> None:
    assert gap_cv([0, 1, 2, 3]) == 0
    assert gap_cv([0, 1, 4, 5, 8]) == pytest.approx(np.std([1, 3, 1, 3], ddof=1) / 2)
    with pytest.raises(ValueError, match="arrival_times must be at least three times"):
        gap_cv([0, 1])


counts_lists = st.lists(st.integers(0, 50), min_size=2, max_size=30).filter(lambda c: sum(c) > 0)


@given(counts_lists)
def test_p_value_is_scipys(counts: list[int]) -> None:
    index = np.var(counts, ddof=1) / np.mean(counts)
    assert dispersion_index(counts) == pytest.approx(index, rel=1e-12)
    freedom = len(counts) - 1
    expected = stats.chi2.sf(freedom * index, freedom)
    assert dispersion_p_value(counts) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_rows_are_measured_against_their_own_mean() -> None:
    rows = [[3, 5, 4], [10, 14, 12], [1, 0, 2]]
    each = [dispersion_index(row) for row in rows]
    assert dispersion_index(rows) == pytest.approx(np.mean(each))
    assert dispersion_p_value(rows) == pytest.approx(stats.chi2.sf(2 * sum(each), 6))
    assert dispersion_p_value([[5, 5], [9, 9]]) == 1.0


@pytest.mark.parametrize(
    ("counts", "rule"),
    [
        ([0, 0], "positive somewhere in every row"),
    ],
)
def test_bad_counts(counts: object, rule: str) -> None:
    for function in (dispersion_index, dispersion_p_value):
        with pytest.raises(ValueError, match=f"counts must be .*{rule}"):
            function(counts)


@given(st.floats(0, 3000), st.integers(1, 2000))
def test_chi_square_tail_is_scipys(x: float, freedom: int) -> None:
    got, expected = chi_square_tail(x, freedom), stats.chi2.sf(x, freedom)
    assert got == pytest.approx(expected, rel=1e-8, abs=1e-15 if x < freedom + 2 else 1e-300)


@pytest.mark.parametrize(
    ("x", "freedom"), [(20_400.0, 20_000), (19_900.0, 20_000), (4e5, 4 * 10**5)]
)
def test_chi_square_tail_of_many_windows(x: float, freedom: int) -> None:
    assert chi_square_tail(x, freedom) == pytest.approx(stats.chi2.sf(x, freedom), rel=1e-8)


@given(st.floats(0, 0.99), st.floats(0.01, 10), st.floats(0, 100), st.floats(0, 10))
def test_delay_is_linear_in_the_variability(
    rho: float, service: float, index: float, scv: float
) -> None:
    unit = rho * service / (1 - rho) / 2
    got = dispersion_mean_work(rho / service, service, index, scv)
    assert got == pytest.approx(unit * (index + scv), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((1.0, 1.0, 1.0), "below 1 for a stable queue"),
    ],
)
def test_bad_delay(arguments: tuple[float, ...], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        dispersion_mean_work(*arguments)


# The exercises


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
