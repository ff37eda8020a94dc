"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.definitions.latency_distribution.exercises import (
    bucket_bounds,
    objective_verdict,
    requests_to_measure,
)
from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    wilks_sample_size,
)

from tests.definitions.latency_distribution.test_latency_distribution import C, Q


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
