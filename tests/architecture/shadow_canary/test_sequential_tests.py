"""The mixture test: a martingale, and the averaged likelihood by quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from serving_mathematics.architecture.shadow_canary.sequential_tests import (
    LARGEST_LOG,
    msprt_ratio,
)


@given(st.integers(1, 300), st.floats(-1, 1), st.floats(0.1, 4), st.floats(0.01, 2))
def test_msprt_ratio_is_the_averaged_likelihood(
    count: int, mean: float, variance: float, mixing: float
) -> None:
    precision = count / variance + 1 / mixing
    centre, width = count * mean / variance / precision, precision**-0.5

    def integrand(effect: float) -> float:
        log = count * (mean * effect - effect**2 / 2) / variance
        return float(math.exp(log - peak) * stats.norm.pdf(effect, 0, math.sqrt(mixing)))

    peak = count * (mean * centre - centre**2 / 2) / variance
    averaged, _ = integrate.quad(integrand, centre - 12 * width, centre + 12 * width, epsrel=1e-10)
    got = float(msprt_ratio(count, mean, variance, mixing))
    assert math.log(got) == pytest.approx(min(math.log(averaged) + peak, LARGEST_LOG), abs=1e-6)


def test_msprt_ratio_has_mean_one_without_effect() -> None:
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    ratios = msprt_ratio(4, nodes / 2, 1.0, 0.1)
    assert float(weights @ ratios) / math.sqrt(2 * math.pi) == pytest.approx(1.0, abs=1e-9)
    assert np.isfinite(msprt_ratio(10**6, 10.0, 1.0, 1.0))
