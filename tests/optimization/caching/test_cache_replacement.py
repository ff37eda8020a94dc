"""The LRU cache against brute force and scipy."""

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
    zipf,
)


@pytest.mark.parametrize("exponent", [0.0, 0.3, 1.0, 2.5])
def test_zipf_is_scipys(exponent: float) -> None:
    expected = stats.zipfian.pmf(np.arange(1, 51), exponent, 50)
    assert zipf(50, exponent) == pytest.approx(expected)


@given(st.lists(st.floats(0.05, 1.0), min_size=2, max_size=6), st.floats(0.1, 0.9))
def test_characteristic_time_fills_the_cache(weights: list[float], share: float) -> None:
    p = np.array(weights) / sum(weights)
    capacity = share * p.size
    time = characteristic_time(p, capacity)

    def excess(t: float) -> float:
        return float((1 - np.exp(-p * t)).sum() - capacity)

    high = 1.0
    while excess(high) < 0:
        high *= 2
    assert time == pytest.approx(optimize.brentq(excess, 0.0, high), rel=1e-6)
    assert hit_ratio(p, capacity) == pytest.approx(p @ (1 - np.exp(-p * time)))


def test_equal_items_have_closed_forms() -> None:
    p = zipf(50, 0.0)
    assert characteristic_time(p, 20) == pytest.approx(-50 * math.log(0.6))
    assert hit_ratio(p, 20) == pytest.approx(0.4)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(1, 7))
def test_simulated_lru_is_a_stack(requests: list[int], size: int) -> None:
    """A hit is a request with fewer than C distinct others since the last time."""
    expected = []
    for place, item in enumerate(requests):
        before = [i for i in range(place) if requests[i] == item]
        expected.append(bool(before) and len(set(requests[before[-1] + 1 : place])) < size)
    assert simulate_hits(requests, size).tolist() == expected
