"""Intervals of clumped latencies and of a difference: brute bootstrap, properties and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.latency_distribution.clumped_percentiles import (
    clumped_interval,
    design_effect,
    quantile_difference,
)
from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    quantile_ranks,
)


def test_the_interval_is_that_of_real_resampling() -> None:
    rng = np.random.default_rng(1)
    old, new = rng.lognormal(size=300), 1.2 * rng.lognormal(size=200)
    low, high = quantile_difference(rng, old, new, 0.9, draws=40_000)
    ranks = math.ceil(300 * 0.9) - 1, math.ceil(200 * 0.9) - 1
    brute = [
        np.sort(rng.choice(x, (20_000, x.size)), axis=1)[:, rank]
        for x, rank in zip((old, new), ranks, strict=True)
    ]
    expected = np.quantile(brute[1] - brute[0], [0.025, 0.975])
    assert (low, high) == pytest.approx(tuple(expected), abs=0.08)


def test_independent_requests_have_no_effect() -> None:
    slow = np.random.default_rng(6).binomial(2000, 0.01, 20_000)
    assert design_effect(slow) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_of_a_lower_quantile_it_is_less_by_that_quantile(q: float) -> None:
    """Requests that come in clumps of eight, each of them slow with the probability 1 − q."""
    slow = 8 * np.random.default_rng(6).binomial(250, 1 - q, 20_000)
    assert design_effect(slow) == pytest.approx(8 * q, rel=0.04)


@given(st.integers(2, 300), st.floats(0.01, 0.99))
def test_without_an_effect_it_is_the_interval_of_ranks(count: int, q: float) -> None:
    x = np.random.default_rng(count).exponential(size=count)
    ranks, x = quantile_ranks(count, q), np.sort(x)
    low, high = clumped_interval(np.random.default_rng(1).permutation(x), q, 1.0)
    assert low == (0.0 if ranks.lower is None else x[ranks.lower - 1])
    assert high == (math.inf if ranks.upper is None else x[ranks.upper - 1])


def test_values_that_come_in_fours_are_held() -> None:
    rng, held = np.random.default_rng(7), 0
    for _ in range(400):
        x = np.repeat(rng.exponential(size=250), 4)
        low, high = clumped_interval(x, 0.95, 4.0)
        held += low < math.log(20) < high
    assert 0.92 < held / 400 < 0.99
