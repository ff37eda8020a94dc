"""The scalability law: exact fits, its peak, limits, bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from serving_mathematics.definitions.throughput.scalability_fit import (
    fit_usl,
    peak_concurrency,
    usl_throughput,
)


@given(st.floats(0.0, 0.5), st.floats(0.0, 0.01), st.floats(0.1, 100.0))
def test_the_law_is_fitted_exactly_and_peaks_where_it_says(
    contention: float, coherency: float, single: float
) -> None:
    n = np.array([1, 2, 3, 6, 12, 30.0])
    x = usl_throughput(n, contention, coherency, single)
    alpha, beta, gamma = fit_usl(n, x)
    assert (alpha, beta, gamma) == pytest.approx((contention, coherency, single), abs=1e-6)
    peak = peak_concurrency(contention, coherency)
    if 1 < peak < 1e6:
        around = usl_throughput([0.9 * peak + 0.1, peak, 1.1 * peak], contention, coherency, single)
        assert around[1] == max(around)


def test_of_what_is_allowed_the_fit_is_the_nearest() -> None:
    rng = np.random.default_rng(6)
    for grows in (-0.4, -0.1, 0.0, 0.2):  # above a line through the origin, and below it
        n = np.array([1, 2, 4, 8, 16.0])
        cost = n**grows * rng.uniform(0.9, 1.1, 5)
        alpha, beta, gamma = fit_usl(n, n / cost)
        columns = np.stack([np.ones(5), n - 1, n * (n - 1)], axis=1)
        found = np.array([1, alpha, beta]) / gamma
        nearest = optimize.nnls(columns, cost)[0]
        assert columns @ found == pytest.approx(columns @ nearest, rel=1e-6)


def test_limits() -> None:
    assert peak_concurrency(0.3, 0.0) == math.inf
    assert usl_throughput(1, 0.3, 0.2, 7.0) == 7.0
    assert usl_throughput(1e9, 0.5, 0.0, 7.0) == pytest.approx(14.0)


def test_bad_fits_are_refused() -> None:
    with pytest.raises(ValueError, match="throughput must be of shape"):
        fit_usl([1.0, 2.0, 3.0], [1.0])
    with pytest.raises(ValueError, match="throughput must be of N/X that begins above 0"):
        fit_usl([2.0, 3.0, 4.0], [20.0, 3.0, 2.05])
    for bad in ([0.5, 1.0, 2.0], [1.0, 2.0, math.nan]):
        with pytest.raises(ValueError, match="concurrency must be"):
            fit_usl(bad, [1.0, 1.0, 1.0])
