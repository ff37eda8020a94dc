"""The scalability law: exact fits, and the nearest where none is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from serving_mathematics.definitions.throughput.scalability_fit import (
    fit_usl,
    usl_throughput,
)


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


@given(st.floats(0.0, 0.5), st.floats(0.0, 0.01), st.floats(0.1, 100.0))
def test_the_law_is_fitted_exactly(contention: float, coherency: float, single: float) -> None:
    n = np.array([1, 2, 3, 6, 12, 30.0])
    x = usl_throughput(n, contention, coherency, single)
    alpha, beta, gamma = fit_usl(n, x)
    assert (alpha, beta, gamma) == pytest.approx((contention, coherency, single), abs=1e-6)
