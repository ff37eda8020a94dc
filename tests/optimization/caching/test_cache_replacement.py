"""Replacement policies against brute force, scipy and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from serving_mathematics.optimization.caching.cache_replacement import (
    characteristic_time,
    hit_ratio,
    simulate_hits,
    timer_hit_ratios,
    zipf,
)

WEIGHTS = st.lists(st.floats(0.05, 1.0), min_size=2, max_size=6)
BAD_COUNTS = [0, -1, 1.5, math.nan, math.inf]


def shares(weights: list[float]) -> np.ndarray:
    return np.array(weights) / sum(weights)


@pytest.mark.parametrize("exponent", [0.3, 1.0, 2.5])
def test_zipf_is_scipys(exponent: float) -> None:
    expected = stats.zipfian.pmf(np.arange(1, 51), exponent, 50)
    assert zipf(50, exponent) == pytest.approx(expected)


def test_zipf_limits() -> None:
    assert zipf(4, 0.0).tolist() == [0.25] * 4
    assert zipf(1, 3.0).tolist() == [1.0]
    assert zipf(9, 40.0)[0] == pytest.approx(1.0)


@given(WEIGHTS, st.floats(0.1, 0.9), st.booleans())
def test_characteristic_time_fills_the_cache(
    weights: list[float], share: float, renewed: bool
) -> None:
    p = shares(weights)
    capacity = share * p.size
    time = characteristic_time(p, capacity, renewed)
    assert timer_hit_ratios(p, time, renewed).sum() == pytest.approx(capacity, rel=1e-9)

    def excess(t: float) -> float:
        inside = 1 - np.exp(-p * t) if renewed else p * t / (1 + p * t)
        return float(inside.sum() - capacity)

    high = 1.0
    while excess(high) < 0:
        high *= 2
    assert time == pytest.approx(optimize.brentq(excess, 0.0, high), rel=1e-6)
    expected = p @ timer_hit_ratios(p, time, renewed)
    assert hit_ratio(p, capacity, renewed) == pytest.approx(expected)


def test_equal_items_have_closed_forms() -> None:
    p = zipf(50, 0.0)
    assert characteristic_time(p, 20, True) == pytest.approx(-50 * math.log(0.6))
    assert characteristic_time(p, 20, False) == pytest.approx(50 * 20 / 30)
    assert hit_ratio(p, 20, True) == pytest.approx(0.4)
    assert hit_ratio(p, 20, False) == pytest.approx(0.4)


def test_timers_at_the_ends() -> None:
    assert timer_hit_ratios([0.5, 0.5], 0.0, True).tolist() == [0.0, 0.0]
    assert timer_hit_ratios([1.0], 1e9, True)[0] == 1.0
    assert timer_hit_ratios([1.0], 1e-9, True)[0] == pytest.approx(1e-9, rel=1e-6)
    assert timer_hit_ratios([0.2, 0.8], 5.0, False) == pytest.approx([0.5, 0.8])


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 7))
def test_simulated_lru_is_a_stack(requests: list[int], size: int) -> None:
    """A hit is a request with fewer than C distinct others since the last time."""
    expected = []
    for place, item in enumerate(requests):
        before = [i for i in range(place) if requests[i] == item]
        expected.append(bool(before) and len(set(requests[before[-1] + 1 : place])) < size)
    assert simulate_hits(requests, size).tolist() == expected


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 7))
def test_simulated_fifo_is_a_queue(requests: list[int], size: int) -> None:
    queue: list[int] = []
    expected = []
    for item in requests:
        expected.append(item in queue)
        if item not in queue:
            queue = [*queue, item][-size:]
    assert simulate_hits(requests, size, "fifo").tolist() == expected


@given(st.lists(st.integers(0, 9), min_size=1, max_size=80))
def test_larger_lru_caches_hit_more(requests: list[int]) -> None:
    counts = [int(simulate_hits(requests, size).sum()) for size in range(1, 11)]
    assert counts == sorted(counts)


def test_fifo_may_lose_with_more_room() -> None:
    """Belady's anomaly: more room, fewer hits."""
    requests = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5]
    hits = [int(simulate_hits(requests, size, "fifo").sum()) for size in (3, 4)]
    assert hits == [3, 2]


@pytest.mark.parametrize("bad", BAD_COUNTS)
def test_counts_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="items must be an integer from 1"):
        zipf(bad, 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="capacity must be a positive integer"):
        simulate_hits([1], bad)  # type: ignore[arg-type]


def test_ranges_are_refused() -> None:
    for bad in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="exponent must be non-negative and finite"):
            zipf(3, bad)
        with pytest.raises(ValueError, match="lifetime must be non-negative and finite"):
            timer_hit_ratios([1.0], bad, False)
    for bad in (0.0, 2.0, math.nan):
        with pytest.raises(ValueError, match=r"capacity must be in \(0, 2\)"):
            characteristic_time([0.5, 0.5], bad, True)
        with pytest.raises(ValueError, match=r"capacity must be in \(0, 2\)"):
            hit_ratio([0.5, 0.5], bad, False)
    with pytest.raises(ValueError, match="policy must be lru or fifo"):
        simulate_hits([1], 1, "static")
    for requests in ([], [0.5], [[1, 2]], [math.nan]):
        with pytest.raises(ValueError, match="requests must be a non-empty"):
            simulate_hits(requests, 1)


def test_one_place_of_four_is_underestimated_and_by_more_for_fifo() -> None:
    p = zipf(4, 1.0)
    exact = float((p**2).sum())  # one place holds what was asked for last
    low = [100 * (exact - hit_ratio(p, 1, renewed)) for renewed in (True, False)]
    assert 0 < low[0] < low[1]
