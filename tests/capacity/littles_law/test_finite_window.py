"""The edge error of a finite window, and the replications that measure it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.littles_law.finite_window import (
    REPLICATIONS,
    edge_error,
    mean_over_replications,
    simulate_requests,
    window_for_error,
)
from serving_mathematics.capacity.littles_law.littles_law import window_averages
from serving_mathematics.support.intervals import STUDENT_T_975

positive = st.floats(0.01, 1000)


def test_student_constant() -> None:
    assert pytest.approx(stats.t.ppf(0.975, REPLICATIONS - 1), abs=5e-11) == STUDENT_T_975[199]


@given(positive, st.floats(0, 50), positive)
def test_edge_error_is_the_second_moment(wait: float, scv: float, window: float) -> None:
    second_moment = wait**2 * (1 + scv)
    expected = second_moment / 2 / (wait * window)
    assert edge_error(wait, scv, window) == pytest.approx(expected, rel=1e-12)


@given(positive, st.floats(0, 50), st.floats(1e-4, 0.99))
def test_window_for_error_is_the_inverse(wait: float, scv: float, error: float) -> None:
    window = window_for_error(wait, scv, error)
    assert edge_error(wait, scv, window) == pytest.approx(error, rel=1e-12)


def test_edge_error_of_a_regular_stream_is_exact() -> None:
    """Arrivals every 0.01 s, each inside for 3 s: the overhang is W/(2T) of the number inside."""
    arrivals = np.arange(0, 40, 0.01) + 0.005
    log = window_averages(arrivals, arrivals + 3.0, 0.0, 20.0)
    inside = float(log.truncated)
    overhang = float(log.full) - inside
    assert overhang / float(log.full) == pytest.approx(edge_error(3.0, 0.0, 20.0), rel=1e-3)
    assert inside - float(log.completed) == pytest.approx(overhang, rel=1e-2)


def test_warm_up_deficit_solves_poissons_equation() -> None:
    """ρ/(1−ρ)³ by integrating L − E[N(t)] of an M/M/1 from empty, by uniformization."""
    rho, states = 0.5, 80
    rate = 1 + rho
    step = (
        np.diag(np.full(states - 1, rho), 1)
        + np.diag(np.ones(states - 1), -1)
        + np.diag([1.0] + [0.0] * (states - 1))
    ) / rate
    share = np.zeros(states)
    share[0] = 1.0
    deficit = 0.0
    for _ in range(2000):
        deficit += float(rho / (1 - rho) - share @ np.arange(states)) / rate
        share = share @ step
    assert deficit == pytest.approx(rho / (1 - rho) ** 3, rel=1e-6)


@pytest.mark.parametrize("servers", [1, 3])
def test_simulate_requests_is_the_queue_it_says(servers: int) -> None:
    arrivals, departures = simulate_requests(np.random.default_rng(2), 0.6, 300.0, servers=servers)
    assert arrivals.shape == departures.shape
    assert arrivals.shape[0] == REPLICATIONS
    assert arrivals[:, -1].min() > 300.0
    counts = (arrivals < 300.0).sum(axis=1)
    assert abs(counts.mean() - 180 * servers) < 4 * math.sqrt(180 * servers / REPLICATIONS)
    sojourns = departures - arrivals
    assert sojourns[:, 0].mean() == pytest.approx(1.0, abs=4 / math.sqrt(REPLICATIONS))
    later = mean_over_replications(sojourns[:, 100:].mean(axis=1))
    expected = 2.5 if servers == 1 else 1 + 0.2956200  # M/M/3 at 0.6: Erlang C/(3·0.4)
    assert abs(later.mean - expected) < 4 * later.standard_error


def test_simulate_requests_reaches_beyond_the_shortest_window() -> None:
    arrivals, _ = simulate_requests(np.random.default_rng(7), 0.5, 0.01)
    assert arrivals[:, -1].min() > 0.01
    assert arrivals.shape == (REPLICATIONS, 20)


def test_simulate_requests_repeats_itself() -> None:
    first, _ = simulate_requests(np.random.default_rng(5), 0.5, 10.0)
    second, _ = simulate_requests(np.random.default_rng(5), 0.5, 10.0)
    assert np.array_equal(first, second)


def test_mean_over_replications_agrees_with_scipy() -> None:
    values = np.random.default_rng(3).normal(7, 2, REPLICATIONS)
    found = mean_over_replications(values)
    low, high = stats.t.interval(0.95, REPLICATIONS - 1, values.mean(), stats.sem(values))
    assert found.standard_error == pytest.approx(stats.sem(values), rel=1e-12)
    assert found.mean - found.half_width == pytest.approx(low, abs=1e-9)
    assert found.mean + found.half_width == pytest.approx(high, abs=1e-9)


@pytest.mark.parametrize("bad", [-0.1, math.inf, math.nan])
def test_variability_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="sojourn_scv must be non-negative and finite"):
        edge_error(1.0, bad, 1.0)
    assert edge_error(1.0, 0.0, 1.0) == 0.5
