"""The gauge of any busy server and the relaxation time: scipy oracles, properties, errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.definitions.utilization.utilization_gauge import (
    any_busy,
    interval_coverage,
    most_load_behind,
    places_taken,
    relaxation_time,
)

SERVERS = st.integers(1, 60)
RHO = st.floats(0.01, 0.99)


def any_busy_by_poisson(servers: int, load: float) -> float:
    """1 − p_0 with 1/p_0 = e^a·P(N < c) + a^c/c!/(1−ρ), N Poisson of mean a."""
    tail = stats.poisson.pmf(servers, load) / (1 - load / servers)
    return float(1 - math.exp(-load) / (stats.poisson.cdf(servers - 1, load) + tail))


@given(SERVERS, RHO)
def test_gauge_equals_poisson_sums(servers: int, rho: float) -> None:
    load = rho * servers
    assert any_busy(servers, load) == pytest.approx(any_busy_by_poisson(servers, load), rel=1e-11)


@given(SERVERS, RHO)
def test_gauge_lies_between_utilization_and_one(servers: int, rho: float) -> None:
    shown = any_busy(servers, rho * servers)
    assert rho * (1 - 1e-12) <= shown <= 1
    assert shown >= 1 - math.exp(-rho * servers) - 1e-12  # a queue keeps the servers busy
    assert any_busy(servers + 1, rho * servers) <= shown + 1e-12


def test_gauge_limits() -> None:
    assert any_busy(3, 0.0) == 0
    assert any_busy(1, 0.3) == pytest.approx(0.3, rel=1e-14)
    assert any_busy(5000, 4000.0) == 1
    assert any_busy(5000, 1e-9) == pytest.approx(1e-9, rel=1e-8)


@given(st.floats(0, 30))
def test_load_behind_a_gauge_is_the_poisson_zero_class(load: float) -> None:
    gauge = float(stats.poisson.sf(0, load))
    if gauge < 1:
        assert most_load_behind(gauge) == pytest.approx(load, rel=1e-3, abs=1e-12)
    assert most_load_behind(0.0) == 0


@pytest.mark.parametrize("rho", [0.3, 0.6])
def test_relaxation_time_bounds_the_transient(rho: float) -> None:
    """P(idle at t) of an M/M/1 queue that starts empty nears 1−ρ at the rate 1/τ or faster."""
    states, tau = 200, relaxation_time(rho, 1.0)
    generator = np.diag(np.full(states - 1, rho), 1) + np.diag(np.ones(states - 1), -1)
    generator -= np.diag(generator.sum(axis=1))
    solution = integrate.solve_ivp(
        lambda _, p: p @ generator,
        (0, 6 * tau),
        np.eye(states)[0],
        t_eval=[4 * tau, 5 * tau, 6 * tau],
        rtol=1e-9,
        atol=1e-13,
    )
    gaps = solution.y[0] - (1 - rho)
    assert np.all(gaps > 0)
    for earlier, later in itertools.pairwise(gaps):
        assert 0.15 < later / earlier < math.exp(-1)  # e^{−t/τ} times a falling power of t


@given(st.floats(0.0, 1.0), st.floats(0.0, 50.0))
def test_places_taken_give_back_the_rate(share: float, growth: float) -> None:
    """b/(1 + g·b) over the rate of a full engine, 1/(1 + g), is the share."""
    taken = places_taken(share, growth)
    assert 0 <= taken <= share
    assert taken / (1 + growth * taken) * (1 + growth) == pytest.approx(share, abs=1e-12)


def test_running_over_the_limit_is_not_the_load() -> None:
    """28% of the places at 52% of the highest rate, as an engine showed."""
    assert places_taken(0.52, 1.79) == pytest.approx(0.28, abs=0.001)


def test_relaxation_time_by_hand() -> None:
    assert relaxation_time(0.0, 3.0) == 3.0
    assert relaxation_time(0.81, 2.0) == pytest.approx(200.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -0.1])
def test_bad_numbers_are_named(bad: float) -> None:
    with pytest.raises(ValueError, match=r"offered_load must be in \[0, 2\) for a stable queue"):
        any_busy(2, bad)
    with pytest.raises(ValueError, match="servers must be a positive integer"):
        any_busy(bad, 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"gauge must be in \[0, 1\)"):
        most_load_behind(bad)
    with pytest.raises(ValueError, match=r"utilization must be in \[0, 1\)"):
        relaxation_time(bad, 1.0)
    with pytest.raises(ValueError, match="mean_service_s must be positive and finite"):
        relaxation_time(0.5, bad)


def test_edges_are_refused() -> None:
    with pytest.raises(ValueError, match=r"stable queue, got 2\.0"):
        any_busy(2, 2.0)


def test_coverage_counts_the_intervals_that_hold_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = iter(
        [
            MeanEstimate(1.5, 0.1, 0.5),
            MeanEstimate(0.5, 0.1, 0.4),
            MeanEstimate(1.6, 0.1, 0.5),
            MeanEstimate(0.6, 0.1, 0.5),
        ]
    )
    monkeypatch.setattr(
        "serving_mathematics.definitions.utilization.utilization_gauge.simulate_mean_wait",
        lambda *_, **__: next(runs),
    )
    assert interval_coverage(np.random.default_rng(0), 0.5, 1000, 4) == 0.5
