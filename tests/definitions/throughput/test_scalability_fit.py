"""The scalability law: exact fits, and the nearest where none is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize
from serving_mathematics.definitions.throughput.scalability_fit import (
    fit_usl,
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
