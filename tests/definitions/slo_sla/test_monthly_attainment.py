"""The month's downtime against scipy's gamma sums, its moments, and errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.definitions.slo_sla.monthly_attainment import (
    _worst_rolling_downtime,
    downtime_exceeds,
    internal_target,
)


@given(st.floats(0, 10_000), st.floats(0.01, 60), st.floats(10, 1000))
def test_exact_equals_gamma_sums(allowed: float, mean: float, length: float) -> None:
    n = np.arange(1, 250)
    expected = (stats.poisson.pmf(n, mean) * stats.gamma.sf(allowed / length, n)).sum()
    assert downtime_exceeds(allowed, mean, length) == pytest.approx(expected, abs=1e-10)


@given(
    st.lists(st.tuples(st.integers(0, 100), st.integers(0, 9)), max_size=15), st.integers(1, 120)
)
def test_worst_window_by_brute_force(outages: list[tuple[int, int]], window: int) -> None:
    outages = sorted(outages)
    starts, lengths = [s for s, _ in outages], [n for _, n in outages]
    expected = max(
        (sum(n for s, n in outages if end - window < s <= end) for end in range(101)), default=0
    )
    assert _worst_rolling_downtime(starts, lengths, float(window)) == expected


def test_target_meets_the_breach() -> None:
    target = internal_target(0.99, 0.1, 100.0, 100_000.0)
    assert target > 0.99
    assert downtime_exceeds(1000.0, (1 - target) * 1000, 100.0) == pytest.approx(0.1)
