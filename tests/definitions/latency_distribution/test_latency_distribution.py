"""Order statistics and the exercises: numpy and scipy as oracles, properties, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    RankInterval,
    quantile,
    quantile_ranks,
    wilks_sample_size,
)

METHODS = [
    *("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf"),
    *("hazen", "weibull", "linear", "median_unbiased", "normal_unbiased"),
]
Q = st.floats(0.001, 0.999)
C = st.floats(0.05, 0.999)


@given(
    st.lists(st.floats(0, 1e3), min_size=1, max_size=30),
    st.integers(0, 40),
    st.integers(1, 9),
)
def test_quantile_is_numpys(x: list[float], eighths: int, definition: int) -> None:
    q = eighths / 40
    if abs(len(x) * q - round(len(x) * q)) < 1e-9 and definition == 3:
        q = min(1.0, q + 0.001)  # a rank on an edge is numpy's rounding, not a definition
    expected = float(np.quantile(x, q, method=METHODS[definition - 1]))  # type: ignore[call-overload]
    assert quantile(x, q, definition) == pytest.approx(expected, rel=1e-7, abs=1e-6)


def test_discontinuous_definitions_at_whole_ranks() -> None:
    x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert [quantile(x, 1 / 3, d) for d in (1, 2)] == [2.0, 2.5]
    assert quantile(x, 2.5 / 6, 3) == 2.0  # the even one of two neighbours that are equally near
    assert quantile(x, 3.5 / 6, 3) == 4.0
    assert quantile(np.arange(1.0, 101.0), 0.07, 1) == 7.0


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


@pytest.mark.parametrize(("q", "n"), [(0.95, 59), (0.99, 299), (0.999, 2995), (0.9, 29)])
def test_wilks_known_values(q: float, n: int) -> None:
    assert wilks_sample_size(q) == n


@given(st.floats(0.05, 0.995), C, st.integers(1, 5))
def test_wilks_is_the_smallest(q: float, c: float, r: int) -> None:
    n = wilks_sample_size(q, c, r)
    assert stats.binom.sf(r - 1, n, 1 - q) >= c - 1e-9
    assert n == r or stats.binom.sf(r - 1, n - 1, 1 - q) <= c + 1e-9
