"""Order statistics and the exercises: numpy and scipy as oracles, properties, errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.definitions.exercises.latency_distribution import (
    bucket_bounds,
    hdr_printed_value,
    objective_verdict,
)
from serving_mathematics.definitions.latency_distribution import (
    RankInterval,
    band_half_width,
    band_sample_size,
    quantile,
    quantile_interval,
    quantile_ranks,
    quantile_standard_error,
    wilks_sample_size,
)

METHODS = [
    *("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf"),
    *("hazen", "weibull", "linear", "median_unbiased", "normal_unbiased"),
]
Q = st.floats(0.001, 0.999)
C = st.floats(0.05, 0.999)
BAD_Q = [0.0, 1.0, -0.1, math.nan]
BAD_COUNTS = [0, -1, 1.5]


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


@given(st.integers(1, 200), Q)
def test_interval_takes_those_ranks(n: int, q: float) -> None:
    ranks = quantile_ranks(n, q)
    x = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    low, high = quantile_interval(x, q)
    assert low == (ranks.lower or 0.0)
    assert high == (math.inf if ranks.upper is None else ranks.upper)


@pytest.mark.parametrize(("q", "n"), [(0.95, 59), (0.99, 299), (0.999, 2995), (0.9, 29)])
def test_wilks_known_values(q: float, n: int) -> None:
    assert wilks_sample_size(q) == n


@given(st.floats(0.05, 0.995), C, st.integers(1, 5))
def test_wilks_is_the_smallest(q: float, c: float, r: int) -> None:
    n = wilks_sample_size(q, c, r)
    assert stats.binom.sf(r - 1, n, 1 - q) >= c - 1e-9
    assert n == r or stats.binom.sf(r - 1, n - 1, 1 - q) <= c + 1e-9


def test_band_is_never_narrower_than_the_exact_one() -> None:
    for n in (5, 50, 500):
        exact = stats.kstwo.ppf(0.95, n)
        assert exact <= band_half_width(n) <= 1.1 * exact
    assert band_half_width(400) == pytest.approx(band_half_width(100) / 2)
    assert band_half_width(100, 0.99) > band_half_width(100, 0.9)


def test_standard_error_of_a_uniform_quantile() -> None:
    n = 999
    exact = stats.beta(750, 250).std()  # the 750th of 999 uniform numbers
    assert quantile_standard_error(0.75, n, 1.0) == pytest.approx(exact, rel=2e-3)
    assert quantile_standard_error(0.75, n, 2.0) == pytest.approx(exact / 2, rel=2e-3)


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
    assert bucket_bounds([0, 1, 2, math.inf], counts, 1.0) == (2.0, math.inf)


@given(st.integers(0, 10**12), st.integers(1, 5))
def test_hdr_is_precise_to_its_digits(value: int, digits: int) -> None:
    printed = hdr_printed_value(value, digits)
    assert value <= printed <= value * (1 + 10.0**-digits)
    assert hdr_printed_value(printed, digits) == printed


@pytest.mark.parametrize("bad", BAD_Q)
def test_probabilities_are_refused(bad: float) -> None:
    for call in (
        lambda: quantile_ranks(10, bad),
        lambda: wilks_sample_size(bad),
        lambda: quantile_standard_error(bad, 10, 1.0),
        lambda: objective_verdict(1, 10, bad),
    ):
        with pytest.raises(ValueError, match=r"probability must be in \(0, 1\)"):
            call()
    for call in (
        lambda: quantile_ranks(10, 0.5, bad),
        lambda: wilks_sample_size(0.5, bad),
        lambda: band_half_width(10, bad),
        lambda: objective_verdict(1, 10, 0.5, bad),
    ):
        with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\)"):
            call()
    if not 0 <= bad <= 1:
        with pytest.raises(ValueError, match=r"probability must be in \[0, 1\]"):
            quantile([1.0], bad)


@pytest.mark.parametrize("bad", BAD_COUNTS)
def test_counts_are_refused(bad: int) -> None:
    for call in (
        lambda: quantile_ranks(bad, 0.5),
        lambda: band_half_width(bad),
        lambda: quantile_standard_error(0.5, bad, 1.0),
    ):
        with pytest.raises(ValueError, match="count must be a positive integer"):
            call()
    with pytest.raises(ValueError, match="order must be a positive integer"):
        wilks_sample_size(0.5, order=bad)
    with pytest.raises(ValueError, match="total must be a positive integer"):
        objective_verdict(0, bad, 0.5)


def test_the_rest_is_refused() -> None:
    for bad in (0, 10, 2.5):
        with pytest.raises(ValueError, match="definition must be an integer from 1 to 9"):
            quantile([1.0], 0.5, bad)  # type: ignore[arg-type]
    for density in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="density must be positive and finite"):
            quantile_standard_error(0.5, 10, density)
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
    with pytest.raises(ValueError, match="value must be a non-negative integer"):
        hdr_printed_value(1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="digits must be an integer from 1 to 5"):
        hdr_printed_value(1, 0)


@given(st.floats(0.002, 0.9), C)
def test_band_sample_size_is_the_fewest(width: float, confidence: float) -> None:
    count = band_sample_size(width, confidence)
    assert band_half_width(count, confidence) <= width * (1 + 1e-9)
    assert count == 1 or band_half_width(count - 1, confidence) > width * (1 - 1e-9)
