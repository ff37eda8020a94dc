"""Fan-out, fork–join and the exercises: limits, oracles, properties, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.capacity.exercises.tail_latency import (
    best_delay,
    constant_service_twice,
    partial_answer_level,
    samples_to_bound,
    slow_sessions,
)
from serving_mathematics.capacity.hedging_under_load import loaded_quantile
from serving_mathematics.capacity.tail_latency import (
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


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: slow_sessions([], []), "slow_probabilities must be non-empty"),
        (lambda: slow_sessions([0.1], [-1]), "calls must be non-negative integers, got -1"),
        (lambda: slow_sessions([0.1], [0.5]), "calls must be non-negative integers"),  # type: ignore[list-item]
        (lambda: slow_sessions([math.nan], [1]), "slow_probabilities must be in"),
        (lambda: samples_to_bound(1.0, 0.5), r"percentile must be in \(0, 1\), got 1.0"),
        (lambda: samples_to_bound(0.5, 0.0), r"confidence must be in \(0, 1\), got 0.0"),
        (lambda: partial_answer_level(0.0, 1, 2), r"probability must be in \(0, 1\), got 0.0"),
        (lambda: partial_answer_level(1.0, 1, 2), r"probability must be in \(0, 1\), got 1.0"),
        (lambda: partial_answer_level(0.5, 1, 0), "fan_out must be a positive integer, got 0"),
        (lambda: partial_answer_level(0.5, 0, 2), "needed must be an integer from 1 to 2, got 0"),
        (lambda: best_delay(0.5, 1.0), r"probability must be in \(0, 1\), got 1.0"),
        (lambda: best_delay(-0.5), r"utilization must be in \[0, 1\), got -0.5"),
        (lambda: constant_service_twice(-0.1), r"utilization must be in \[0, 0.5\), got -0.1"),
    ],
)
def test_refusals(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


@given(
    st.lists(st.tuples(st.floats(0, 0.9), st.integers(0, 50)), min_size=1, max_size=6),
)
def test_slow_sessions_by_brute_force(parts: list[tuple[float, int]]) -> None:
    p, n = [a for a, _ in parts], [b for _, b in parts]
    share, worst = slow_sessions(p, n)
    assert share == pytest.approx(1 - math.prod((1 - a) ** b for a, b in parts), abs=1e-12)

    def without(i: int) -> float:
        return slow_sessions([*p[:i], 0.0, *p[i + 1 :]], n)[0]

    assert without(worst) == pytest.approx(min(without(i) for i in range(len(p))), abs=1e-12)


@given(st.floats(0.01, 0.999), st.floats(0.01, 0.999))
def test_samples_to_bound_is_the_smallest(q: float, confidence: float) -> None:
    n = samples_to_bound(q, confidence)
    assert 1 - q**n >= confidence
    assert n == 1 or 1 - q ** (n - 1) < confidence


@given(st.floats(0.01, 0.99), st.integers(1, 60), st.data())
def test_partial_answer_level_is_a_beta_quantile(q: float, n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, n))
    level = partial_answer_level(q, k, n)
    assert level == pytest.approx(stats.beta.ppf(q, k, n - k + 1), abs=1e-9)


def test_best_delay_below_a_third_is_early_and_above_late() -> None:
    delays = [best_delay(rho)[0] for rho in (0.1, 0.3, 0.5, 0.7)]
    assert delays == sorted(delays)
    delay, ratio = best_delay(0.3, 0.9)
    for other in (0.9 * delay, 1.1 * delay):
        assert loaded_quantile(0.9, 0.3, other) > loaded_quantile(0.9, 0.3, delay)
    assert ratio == loaded_quantile(0.9, 0.3, delay) / loaded_quantile(0.9, 0.3, math.inf)


def test_best_delay_when_idle_is_both_at_once() -> None:
    delay, ratio = best_delay(0.0)
    assert delay == 0.0
    assert ratio == pytest.approx(0.5)


def test_constant_service_twice_in_light_traffic_and_by_simulation() -> None:
    for rho in (0.001, 0.01):
        alone, twice = constant_service_twice(rho)
        assert alone - 1 == pytest.approx(rho / 2, rel=2 * rho)
        # Both copies wait only if both servers are busy: the smaller of two uniform residuals.
        assert twice - 1 == pytest.approx((2 * rho) ** 2 / 3, rel=10 * rho)
    assert constant_service_twice(0.49)[1] > 5
