"""Run lengths and intervals: limits, orders, invariances, honest coverage, errors."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.core.queues.queue_simulator import BATCHES, batch_means
from serving_mathematics.reference.simulation_trust import (
    Interval,
    adjusted_interval,
    coverages,
    customers_needed,
    customers_per_batch,
    naive_coverage,
    relative_variance,
)

LOADS = st.floats(0.01, 0.99)


def test_variance_in_the_limits() -> None:
    assert 0.001 * relative_variance(0.001) == pytest.approx(2, rel=0.005)  # W is rarely positive
    assert 1e-8 * relative_variance(1 - 1e-4) == pytest.approx(4, rel=0.001)  # heavy traffic


@given(LOADS, st.floats(0.001, 1))
def test_half_the_width_takes_four_times_the_customers(load: float, width: float) -> None:
    needed = customers_needed(load, width)
    assert 4 * (needed - 1) <= customers_needed(load, width / 2) <= 4 * needed
    product = (1.96 / width) ** 2 * relative_variance(load)
    assert needed - 1 <= product * (1 + 1e-12)
    assert product * (1 - 1e-12) <= needed


def test_a_whole_number_of_customers_is_not_rounded_up() -> None:
    """123.5·196² is whole; the product of floats lies above it by its last digit."""
    assert relative_variance(0.8) == pytest.approx(123.5, rel=1e-14)
    assert customers_needed(0.8, 0.01) == 4_744_376
    assert customers_needed(0.5, 1.96) == 29


@given(LOADS)
def test_naive_coverage_is_a_normal_probability(load: float) -> None:
    narrow = math.sqrt((2 - load) / load / relative_variance(load))
    assert naive_coverage(load) == pytest.approx(2 * stats.norm.cdf(1.96 * narrow) - 1)
    assert 0 < naive_coverage(load) < 0.95


@given(st.integers(0, 10**6), st.floats(0.1, 10), st.floats(-5, 5))
def test_the_interval_moves_and_stretches_with_the_series(
    seed: int, factor: float, shift: float
) -> None:
    series = np.random.default_rng(seed).exponential(1.0, 320)
    one, other = adjusted_interval(series), adjusted_interval(factor * series + shift)
    expected = [factor * v + shift for v in (one.mean, one.low, one.high)]
    assert [other.mean, other.low, other.high] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert one.low < one.mean < one.high
    mirrored = adjusted_interval(-series)
    assert (mirrored.low, mirrored.high) == pytest.approx((-one.high, -one.low), rel=1e-6)


@given(st.integers(0, 10**6))
def test_never_narrower_than_batch_means(seed: int) -> None:
    series = np.cumsum(np.random.default_rng(seed).normal(size=640))  # strongly correlated
    plain, adjusted = batch_means(series), adjusted_interval(series)
    assert adjusted.mean == pytest.approx(plain.mean)
    assert adjusted.high - adjusted.low > 2 * plain.half_width


def test_interval_formulas_one_by_one() -> None:
    """φ and β by loops over the batch means, and the ends from the formulas of the docstring."""
    means = np.random.default_rng(5).gamma(2.0, 1.0, BATCHES)
    means[1:] += 0.5 * means[:-1]
    found = adjusted_interval(np.r_[99.0, np.repeat(means, 3)])
    off = means - means.mean()
    follows = sum(a * b for a, b in itertools.pairwise(off)) / sum(off**2)
    assert follows > 0
    lean = stats.skew(means, bias=False) / 6 / math.sqrt(BATCHES)
    error = math.sqrt(means.var(ddof=1) / BATCHES * (1 + follows) / (1 - follows))
    ends = []
    for t in (stats.t.ppf(0.975, BATCHES - 1), stats.t.ppf(0.025, BATCHES - 1)):
        inner = 1 + 6 * lean * (t - lean)
        ends.append(
            means.mean() - (math.copysign(abs(inner) ** (1 / 3), inner) - 1) / 2 / lean * error
        )
    assert found == Interval(
        pytest.approx(means.mean()), pytest.approx(ends[0]), pytest.approx(ends[1])
    )


def test_a_constant_series_has_a_point_for_an_interval() -> None:
    found = adjusted_interval(np.full(64, 3.0))
    assert found.low == pytest.approx(3.0, abs=1e-9)
    assert found.high == pytest.approx(3.0, abs=1e-9)


def test_coverages_agree_with_intervals_one_run_at_a_time() -> None:
    """The same random numbers through the public interval."""
    load, length, runs = 0.6, 300, 6
    found = coverages(np.random.default_rng(2), load, length, runs)
    rng = np.random.default_rng(2)
    wait = np.where(rng.random(runs) < load, rng.exponential(1 / (1 - load), runs), 0.0)
    series = []
    for _ in range(BATCHES):
        for size in (256, 44):
            steps = rng.standard_exponential((size, runs)) - rng.exponential(1 / load, (size, runs))
            for step in steps:
                wait = np.maximum(wait + step, 0.0)
                series.append(wait)
    waits = np.array(series).T
    exact, held = load / (1 - load), {"naive": 0, "batch_means": 0, "adjusted": 0}
    for run in waits:
        plain, adjusted = batch_means(run), adjusted_interval(run)
        held["naive"] += abs(run.mean() - exact) <= 1.96 * run.std() / math.sqrt(run.size)
        held["batch_means"] += abs(plain.mean - exact) <= plain.half_width
        held["adjusted"] += adjusted.low <= exact <= adjusted.high
    assert found == pytest.approx({method: count / runs for method, count in held.items()})


def test_customers_per_batch() -> None:
    assert customers_per_batch(0.81, 1) == 81
    assert customers_per_batch(0.81, 0.001) == 1
    assert customers_per_batch(0.9, 10) == math.ceil(9 / (1 - math.sqrt(0.9)) ** 2)
