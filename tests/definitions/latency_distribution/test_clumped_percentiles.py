"""Intervals of clumped latencies and of a difference: brute bootstrap, properties and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_mathematics.definitions.latency_distribution import clumped_percentiles
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


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 60), st.floats(0.01, 0.99), st.floats(0.1, 5.0))
def test_swapping_the_releases_changes_the_sign(count: int, q: float, shift: float) -> None:
    old = np.random.default_rng(2).exponential(size=count)
    one = quantile_difference(np.random.default_rng(3), old, old + shift, q, draws=500)
    assert one[0] <= one[1]
    spread = float(old.max() - old.min())
    assert shift - spread - 1e-9 <= one[0] <= one[1] <= shift + spread + 1e-9


def test_equal_constants_have_no_difference() -> None:
    rng = np.random.default_rng(4)
    assert quantile_difference(rng, [3.0] * 9, [3.0] * 4, 0.99) == (0.0, 0.0)


def test_other_bad_input() -> None:
    with pytest.raises(ValueError, match="draws must be a positive integer"):
        quantile_difference(np.random.default_rng(0), [1.0], [1.0], 0.5, draws=0)
    for effect in (0.9, 3.0, math.nan):
        with pytest.raises(ValueError, match=r"effect must be in \[1, 2\]"):
            quantile_difference(np.random.default_rng(0), [1.0, 2.0], [1.0] * 9, 0.5, effect)
        with pytest.raises(ValueError, match=r"effect must be in \[1, 2\]"):
            clumped_interval([1.0, 2.0], 0.5, effect)


@given(st.lists(st.integers(0, 50), min_size=2, max_size=40))
def test_effect_is_variance_over_mean(slow: list[int]) -> None:
    if sum(slow):
        due = max(1.0, float(np.var(slow) / np.mean(slow)))
        assert design_effect(slow) == pytest.approx(due)


def test_independent_requests_have_no_effect() -> None:
    slow = np.random.default_rng(6).binomial(2000, 0.01, 20_000)
    assert design_effect(slow) == pytest.approx(1, abs=0.03)


@given(st.integers(2, 300), st.floats(0.01, 0.99))
def test_without_an_effect_it_is_the_interval_of_ranks(count: int, q: float) -> None:
    x = np.random.default_rng(count).exponential(size=count)
    ranks, x = quantile_ranks(count, q), np.sort(x)
    low, high = clumped_interval(np.random.default_rng(1).permutation(x), q, 1.0)
    assert low == (0.0 if ranks.lower is None else x[ranks.lower - 1])
    assert high == (math.inf if ranks.upper is None else x[ranks.upper - 1])


@given(st.integers(20, 300), st.floats(0.1, 0.9), st.floats(1, 10))
def test_an_effect_widens(count: int, q: float, effect: float) -> None:
    x = np.random.default_rng(count).exponential(size=count)
    low, high = clumped_interval(x, q, effect)
    alone = clumped_interval(x, q, 1.0)
    step = count // 10  # of ranks, which are whole numbers of n/D
    x = np.sort(x)
    assert low <= x[min(count - 1, int(np.searchsorted(x, alone[0])) + step)]
    assert high >= x[max(0, int(np.searchsorted(x, min(alone[1], float(x[-1])))) - step)]


def test_values_that_come_in_fours_are_held() -> None:
    rng, held = np.random.default_rng(7), 0
    for _ in range(400):
        x = np.repeat(rng.exponential(size=250), 4)
        low, high = clumped_interval(x, 0.95, 4.0)
        held += low < math.log(20) < high
    assert 0.92 < held / 400 < 0.99


def test_an_effect_widens_the_difference() -> None:
    old, new = np.random.default_rng(8).exponential(size=(2, 4000))
    widths = []
    for effect in (1.0, 9.0):
        low, high = quantile_difference(np.random.default_rng(9), old, new, 0.9, effect)
        widths.append(high - low)
    assert widths[1] / widths[0] == pytest.approx(3, rel=0.25)


def test_the_page_quotes_the_record() -> None:
    page = clumped_percentiles.example()
    assert page.chat_worth == int(2000 / page.chat_effect)
    assert page.least_held_by_effect <= page.chat_held_by_effect <= page.most_held_by_effect
    assert page.chat_held < 50 < page.cried
