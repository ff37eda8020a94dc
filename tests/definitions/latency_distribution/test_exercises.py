"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.definitions.latency_distribution.exercises import (
    bucket_bounds,
    objective_verdict,
    requests_to_measure,
)
from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    quantile_ranks,
    wilks_sample_size,
)

from tests.definitions.latency_distribution.test_latency_distribution import C, Q

BAD_Q = [0.0, 1.0, -0.1, math.nan]


BAD_COUNTS = [0, -1, 1.5]


@given(st.integers(1, 200), Q, C, st.data())
def test_verdict_is_binomial(n: int, q: float, c: float, data: st.DataObject) -> None:
    late = data.draw(st.integers(0, n))
    b = stats.binom(n, 1 - q)
    below, above = b.cdf(late), b.sf(late - 1)
    if min(abs(below - (1 - c)), abs(above - (1 - c))) < 1e-9:
        return
    expected = "met" if below <= 1 - c else "missed" if above <= 1 - c else "undecided"
    assert objective_verdict(late, n, q, c) == expected


def test_bucket_bounds_at_the_edges() -> None:
    counts = [[1, 0, 1], [1, 0, 1]]
    assert bucket_bounds([0, 1, 2, 3], counts, 0.5) == (0.0, 1.0)
    assert bucket_bounds([0, 1, 2, 3], counts, 0.51) == (2.0, 3.0)
    assert bucket_bounds([0, 1, 2], [[0, 5]], 1e-12) == (1.0, 2.0)  # the smallest of all
    assert bucket_bounds([0, 1, 2, math.inf], counts, 1.0) == (2.0, math.inf)


@given(Q, C, st.floats(1, 50))
def test_requests_grow_with_the_effect(q: float, c: float, effect: float) -> None:
    alone, together = requests_to_measure(q, c, 1.0), requests_to_measure(q, c, effect)
    assert alone == wilks_sample_size(q, c)
    assert alone * effect - 1e-6 <= together <= alone * effect + 1


@pytest.mark.parametrize("bad", BAD_Q)
def test_probabilities_are_refused(bad: float) -> None:
    for call in (
        lambda: quantile_ranks(10, bad),
        lambda: wilks_sample_size(bad),
        lambda: objective_verdict(1, 10, bad),
    ):
        with pytest.raises(ValueError, match=r"probability must be in \(0, 1\)"):
            call()
    for call in (
        lambda: quantile_ranks(10, 0.5, bad),
        lambda: wilks_sample_size(0.5, bad),
        lambda: objective_verdict(1, 10, 0.5, bad),
    ):
        with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\)"):
            call()


@pytest.mark.parametrize("bad", BAD_COUNTS)
def test_counts_are_refused(bad: int) -> None:
    with pytest.raises(ValueError, match="count must be a positive integer"):
        quantile_ranks(bad, 0.5)
    with pytest.raises(ValueError, match="order must be a positive integer"):
        wilks_sample_size(0.5, order=bad)
    with pytest.raises(ValueError, match="total must be a positive integer"):
        objective_verdict(0, bad, 0.5)


def test_the_rest_is_refused() -> None:
    with pytest.raises(ValueError, match="late must be an integer from 0 to 5"):
        objective_verdict(-1, 5, 0.5)
    for edges in ([0.0], [1.0, 0.0], [-1.0, 1.0], [0.0, math.nan]):
        with pytest.raises(ValueError, match="edges must be rising"):
            bucket_bounds(edges, [[1]], 0.5)
    for counts in ([[-1]], [[0.5]], [[0]], [[math.nan]], [[math.inf]]):
        with pytest.raises(ValueError, match="counts must be non-negative integers"):
            bucket_bounds([0, 1], counts, 0.5)
    for q in (0.0, 1.1, math.nan):
        with pytest.raises(ValueError, match=r"probability must be in \(0, 1\]"):
            bucket_bounds([0, 1], [[1]], q)
    for effect in (0.5, math.nan):
        with pytest.raises(ValueError, match="effect must be in"):
            requests_to_measure(0.9, 0.95, effect)
