"""Closed forms of composed exponential stages: scipy, matrix exponentials, limits and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, stats
from serving_mathematics.definitions.service.latency_closed_forms import (
    _branch_quantile,
    hypoexponential_survival,
)

TIME = st.floats(0.0, 20.0)


@given(TIME, st.sets(st.integers(1, 12), min_size=1, max_size=5))
def test_hypoexponential_is_a_phase_type(time: float, sizes: set[int]) -> None:
    means = np.array(sorted(sizes)) / 3
    generator = np.diag(-1 / means) + np.diag(1 / means[:-1], 1)
    expected = linalg.expm(generator * time)[0].sum()
    assert hypoexponential_survival(time, means) == pytest.approx(expected, abs=1e-9)


def test_nearly_equal_stages_approach_the_gamma_law() -> None:
    near = hypoexponential_survival(2.0, [1.0, 1.0 + 1e-5])
    assert near == pytest.approx(stats.gamma(2).sf(2.0), abs=1e-5)
    for means in ([1.0, 1.0 + 1e-7], [1.0, 2.0, 1.0]):
        with pytest.raises(ValueError, match="means_s must be further apart"):
            hypoexponential_survival(2.0, means)


@given(st.floats(0.01, 0.9999), st.floats(0.001, 0.999), st.floats(0.1, 100.0))
def test_branch_quantile_is_where_both_ways_leave_the_rest(
    q: float, share: float, slow: float
) -> None:
    value = _branch_quantile(q, [1 - share, share], [1.0, slow])
    late = (1 - share) * math.exp(-value) + share * math.exp(-value / slow)
    assert late == pytest.approx(1 - q, rel=1e-9)
    parts = [-math.log1p(-q), -math.log1p(-q) * slow]
    assert min(parts) - 1e-12 <= value <= max(parts) + 1e-12
