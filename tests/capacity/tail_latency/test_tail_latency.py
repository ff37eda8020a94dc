"""Fan-out, fork–join and the exercises: limits, oracles, properties, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.tail_latency.tail_latency import (
    TEN_LATENCIES_MS,
    TailSummary,
    fan_out_slow_share,
    fork_join_mean,
    leaf_level,
    mean_of_slowest,
    simulate_fork_join,
    tail_summary,
)

PROBABILITIES = st.floats(1e-9, 1 - 1e-9)


def test_tail_summary_is_numpy_and_scipy() -> None:
    sample = np.random.default_rng(0).lognormal(size=401)
    summary = tail_summary(sample)
    assert summary.mean == pytest.approx(stats.tmean(sample))
    assert summary.median == pytest.approx(np.median(sample), abs=1e-11)
    assert summary.p95 == pytest.approx(stats.scoreatpercentile(sample, 95), abs=1e-11)
    assert summary.share_below_mean == pytest.approx(
        stats.percentileofscore(sample, sample.mean(), "strict") / 100
    )


def test_tail_summary_of_one_latency() -> None:
    assert tail_summary([7.0]) == TailSummary(7.0, 7.0, 7.0, 0.0)
    assert tail_summary([0.0, 0.0]) == TailSummary(0.0, 0.0, 0.0, 0.0)
    assert len(TEN_LATENCIES_MS) == 10
    assert sum(TEN_LATENCIES_MS) == 717


@given(PROBABILITIES, st.integers(1, 10_000))
def test_slow_share_is_a_binomial_tail(p: float, n: int) -> None:
    assert fan_out_slow_share(p, n) == pytest.approx(stats.binom.sf(0, n, p), rel=1e-9)


def test_slow_share_at_the_ends() -> None:
    assert fan_out_slow_share(0.0, 5) == 0.0
    assert fan_out_slow_share(1.0, 5) == 1.0
    assert fan_out_slow_share(1e-18, 1000) == pytest.approx(1e-15, rel=1e-12)


@given(PROBABILITIES, st.integers(1, 1000))
def test_leaf_level_inverts_the_fan_out(q: float, n: int) -> None:
    level = leaf_level(q, n)
    assert q <= level <= 1 or level == pytest.approx(q)
    assert level**n == pytest.approx(q, rel=1e-9)
    assert 1 - fan_out_slow_share(1 - level, n) == pytest.approx(q, rel=1e-6)


def test_mean_of_slowest_is_the_integral_of_the_survival() -> None:
    for n in (1, 2, 7, 40):
        grid = np.linspace(0, 60, 600_001)
        survival = -np.expm1(n * np.log1p(-np.exp(-grid[1:])))
        assert mean_of_slowest(n) == pytest.approx(1e-4 * (survival.sum() + 0.5), abs=1e-6)


def test_mean_of_slowest_grows_like_the_logarithm() -> None:
    assert mean_of_slowest(10**6) == pytest.approx(math.log(10**6) + np.euler_gamma + 5e-7)


@pytest.mark.parametrize(
    ("n", "rho", "expected"),
    [  # worked out with fractions from the formula as LINE documents it
        (1, 0.75, 4.0),
        (2, 0.0, 1.5),
        (2, 0.4, 29 / 12),
        (3, 0.5, 2.875 * (11 / 9 - 2 / 9 * 2 / 11)),
        (4, 0.8, 7.0 * (25 / 18 - 7 / 18 * 3.2 / 11)),
    ],
)
def test_fork_join_worked(n: int, rho: float, expected: float) -> None:
    assert fork_join_mean(n, rho) == pytest.approx(expected, rel=1e-12)


@given(st.integers(1, 31), st.floats(0, 0.99))
def test_fork_join_is_between_one_queue_and_independent_queues(n: int, rho: float) -> None:
    assert fork_join_mean(n, rho) < fork_join_mean(n + 1, rho)
    assert 1 / (1 - rho) <= fork_join_mean(n, rho) <= mean_of_slowest(n) / (1 - rho) * (1 + 1e-12)


def test_simulated_fork_join_of_one_queue_is_mm1() -> None:
    run = simulate_fork_join(np.random.default_rng(2), 1, 0.5, 200_000)
    assert abs(run.mean - 2.0) < 4 * run.standard_error
    again = simulate_fork_join(np.random.default_rng(2), 1, 0.5, 200_000)
    assert run == again


def test_simulated_fork_join_of_two_queues_at_half_load() -> None:
    run = simulate_fork_join(np.random.default_rng(3), 2, 0.5, 400_000)
    assert abs(run.mean - 2.875) < 4 * run.standard_error < 0.1
