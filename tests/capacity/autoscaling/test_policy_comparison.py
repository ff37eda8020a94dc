"""The generated days: rates by their definition, counts and times by distribution, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats
from serving_mathematics.capacity.autoscaling import policy_comparison
from serving_mathematics.capacity.autoscaling.autoscaler_simulation import outcome, simulate
from serving_mathematics.capacity.autoscaling.policy_comparison import (
    daily_rates,
    hours_for,
    measured_day,
    poisson_arrivals,
)
from serving_mathematics.core.fleet.scaling_rules import fixed


def test_quantile_of_student() -> None:
    expected = stats.t.ppf(0.975, policy_comparison.DAYS - 1)
    assert pytest.approx(expected, abs=1e-9) == policy_comparison.STUDENT_T_975[3]


def test_rates_of_a_wave() -> None:
    times, rates = daily_rates(2.0, 0.5, 15.0)
    assert times.tolist() == [60.0 * k for k in range(1440)]
    assert rates.mean() == pytest.approx(2.0)
    assert rates.argmax() == 15 * 60
    assert rates.argmin() == 3 * 60
    assert (rates.max(), rates.min()) == (pytest.approx(3.0), pytest.approx(1.0))
    assert rates[9 * 60] == pytest.approx(2.0)  # a quarter of a day before the peak


def test_bursts_multiply_their_minutes_and_no_others() -> None:
    plain = daily_rates(1.0, 0.3, 12.0)[1]
    burst = daily_rates(1.0, 0.3, 12.0, ((6.0, 3.0), (23.9, 0.0)), burst_s=600.0)[1]
    ratio = burst / plain
    assert np.flatnonzero(ratio != 1).tolist() == [*range(360, 370), *range(1434, 1440)]
    assert ratio[360:370] == pytest.approx(3.0)
    assert not burst[1434:].any()
    again = daily_rates(1.0, 0.0, 12.0, ((6.0, 2.0),))[1]
    assert np.count_nonzero(again == 2.0) == 20  # the default burst lasts twenty minutes


def test_arrivals_are_poisson_in_number_and_uniform_in_time() -> None:
    rng = np.random.default_rng(7)
    days = [poisson_arrivals(rng, [0.0, 10.0, 40.0], [2.0, 0.0, 0.5], 100.0) for _ in range(400)]
    assert all(np.all(np.diff(day) >= 0) for day in days)
    early = np.concatenate([day[day < 10] for day in days])
    late = np.concatenate([day[day >= 40] for day in days])
    assert early.size + late.size == sum(day.size for day in days)  # none where the rate is 0
    assert late.max() < 100
    for times, low, length, mean in ((early, 0.0, 10.0, 20.0), (late, 40.0, 60.0, 30.0)):
        assert times.size == pytest.approx(400 * mean, abs=4 * math.sqrt(400 * mean))
        assert stats.kstest((times - low) / length, "uniform").pvalue > 1e-3
    counts = np.array([np.sum(day < 10) for day in days])
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=4 * math.sqrt(2 / 400))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bursts": ((24.0, 1.0),)}, "bursts must be"),
        ({"bursts": ((1.0, -1.0),)}, "bursts must be"),
        ({"bursts": ((1.0, math.inf),)}, "bursts must be"),
    ],
)
def test_rates_refuse(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        daily_rates(**({"mean_rate": 1.0, "swing": 0.5, "peak_hour": 12.0} | arguments))


def test_hours_between_settings() -> None:
    """On a straight line of the logarithm of lateness, whatever the order of the settings."""
    hours, late = [700.0, 500.0, 600.0], [0.2, 20.0, 2.0]
    assert hours_for(2.0, hours, late) == 600.0
    assert hours_for(math.sqrt(40.0), hours, late) == pytest.approx(550.0)
    assert hours_for(0.1, hours, late) == math.inf
    assert hours_for(30.0, hours, late) == 500.0
    assert hours_for(1.0, [500.0, 600.0, 700.0], [0.5, 3.0, 0.1]) == pytest.approx(
        700 - 100 * math.log(10) / math.log(30)
    )  # beyond the first setting that is later, nothing counts
    assert math.isfinite(hours_for(0.1, [1.0, 2.0], [1.0, 0.0]))
    for bad, words in (
        ((0.0, [1.0], [1.0]), "late_percent must be positive"),
        ((1.0, [], []), "hours must be a non-empty list"),
        ((1.0, [1.0], [1.0, 2.0]), "late must be of shape"),
        ((1.0, [1.0], [math.nan]), "late must be non-negative"),
    ):
        with pytest.raises(ValueError, match=words):
            hours_for(*bad)


def test_a_measured_day_is_the_loop_with_as_many_slots() -> None:
    for slots in (1, 3):
        day = measured_day("static", 12, 1, slots=slots)
        arrivals, services = policy_comparison._traffic(1, slots)
        run = simulate(
            arrivals,
            services,
            fixed(12),
            replicas=12,
            sync_s=600.0,
            startup_s=180.0,
            slots=slots,
            end_s=86_400.0,
        )
        assert day == outcome(run, policy_comparison.SLO_S)
    one, three = (policy_comparison._traffic(0, slots)[0].size for slots in (1, 3))
    assert three == pytest.approx(3 * one, rel=0.03)


@pytest.mark.parametrize(
    ("times", "rates", "end", "message"),
    [
        ([0.0], [1.0, 1.0], 1.0, r"rates must be of shape \(1,\)"),
        ([1.0, 0.0], [1.0, 1.0], 2.0, "times_s and end_s must be finite and increasing"),
        ([0.0], [1.0], 0.0, "times_s and end_s must be finite and increasing"),
    ],
)
def test_arrivals_refuse(times: Any, rates: Any, end: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        poisson_arrivals(np.random.default_rng(0), times, rates, end)


def test_a_forecast_errs_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forecast of a quarter too much plans for a quarter more, and for all slots."""
    means: list[float] = []

    def rates(mean: float, *_: float) -> tuple[np.ndarray, np.ndarray]:
        means.append(mean)
        return np.array([0.0]), np.array([1.0])

    monkeypatch.setattr(policy_comparison, "daily_rates", rates)
    policy_comparison._policy("planned", 0.2, 0.25, 2)
    assert means == [2 * policy_comparison.MEAN_RATE * 1.25]
