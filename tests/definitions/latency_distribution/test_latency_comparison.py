"""Intervals of a difference and percentiles of streams: brute bootstrap, properties and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.definitions.latency_distribution.latency_comparison import (
    block_interval,
    gap_percentiles,
    quantile_difference,
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


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.integers(1, 20), st.floats(0.0, 1.0))
def test_mean_gaps_lie_between_all_and_the_longest(rows: int, columns: int, q: float) -> None:
    gaps = np.random.default_rng(5).exponential(size=(rows, columns))
    _, tpot, longest = gap_percentiles(gaps, q)
    assert tpot <= longest + 1e-12
    assert gap_percentiles(gaps, 1.0)[0] == gap_percentiles(gaps, 1.0)[2] == gaps.max()


def test_other_bad_input() -> None:
    with pytest.raises(ValueError, match="draws must be a positive integer"):
        quantile_difference(np.random.default_rng(0), [1.0], [1.0], 0.5, draws=0)
    for bad in ([1.0], [[]], [[math.nan]], [[-1.0]]):
        with pytest.raises(ValueError, match="gaps_s must be"):
            gap_percentiles(bad, 0.5)
    with pytest.raises(ValueError, match="probability must be in"):
        gap_percentiles([[1.0]], 1.5)


def test_blocks_of_one_are_the_plain_bootstrap() -> None:
    """Resampling single latencies has the spread of order statistics."""
    x = np.random.default_rng(1).exponential(size=400)
    low, high = block_interval(np.random.default_rng(2), x, 400, 0.9, draws=2000)
    ranks = np.sort(x)[[int(k) - 1 for k in np.asarray(stats.binom.ppf([0.025, 0.975], 400, 0.9))]]
    assert [low, high] == pytest.approx(ranks, rel=0.05)


def test_what_does_not_fill_a_block_is_left_out() -> None:
    rng = np.random.default_rng(3)
    assert block_interval(rng, [2.0, 2.0, 2.0, 2.0, 99.0], 2, 0.9) == (2.0, 2.0)


@pytest.mark.parametrize("blocks", [0, 1, 6, 2.5])
def test_blocks_that_are_none_are_refused(blocks: float) -> None:
    with pytest.raises(ValueError, match="blocks must be"):
        block_interval(np.random.default_rng(0), np.ones(5), blocks, 0.5)  # type: ignore[arg-type]
