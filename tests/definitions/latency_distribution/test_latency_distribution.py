"""Order statistics and the exercises: numpy and scipy as oracles, properties, errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    RankInterval,
    quantile_ranks,
    wilks_sample_size,
)

Q = st.floats(0.001, 0.999)
C = st.floats(0.05, 0.999)


@given(st.integers(1, 400), Q, C)
def test_ranks_are_binomial(n: int, q: float, c: float) -> None:
    found = quantile_ranks(n, q, c)
    b = stats.binom(n, q)
    miss = (1 - c) / 2
    low, high = found.lower or 0, n + 1 if found.upper is None else found.upper
    assert b.cdf(low - 1) <= miss + 1e-9
    assert b.cdf(low) >= miss - 1e-9
    assert b.sf(high - 1) <= miss + 1e-9
    assert b.sf(high - 2) >= miss - 1e-9 or high == 1
    top = 1.0 if found.upper is None else b.cdf(high - 1)
    assert found.coverage == pytest.approx(top - b.cdf(low - 1), abs=1e-9)
    assert found.coverage >= c - 1e-9


def test_ranks_of_many() -> None:
    found = quantile_ranks(100_000, 0.999)
    b = stats.binom(100_000, 0.999)
    assert found.upper is not None
    assert found.lower is not None
    assert found.coverage == pytest.approx(
        b.cdf(found.upper - 1) - b.cdf(found.lower - 1), abs=1e-7
    )
    assert quantile_ranks(1, 0.5) == RankInterval(None, None, 1.0)


@given(st.floats(0.05, 0.995), C)
def test_wilks_is_the_smallest(q: float, c: float) -> None:
    n = wilks_sample_size(q, c)
    assert stats.binom.sf(0, n, 1 - q) >= c - 1e-8
    assert n == 1 or stats.binom.sf(0, n - 1, 1 - q) <= c + 1e-8
