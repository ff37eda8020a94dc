"""Closed forms of composed exponential stages: scipy, matrix exponentials, limits and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, stats
from serving_mathematics.definitions.service.latency_closed_forms import (
    averaged_quantiles,
    branch_quantile,
    branch_survival,
    erlang_quantile,
    erlang_survival,
    example,
    hypoexponential_survival,
    slowest_survival,
)

TIME = st.floats(0.0, 20.0)


@given(TIME, st.integers(1, 30), st.floats(0.1, 5.0))
def test_erlang_is_a_gamma(time: float, stages: int, mean: float) -> None:
    expected = stats.gamma(stages, scale=mean).sf(time)
    assert erlang_survival(time, stages, mean) == pytest.approx(expected, rel=1e-10)


@given(TIME, st.sets(st.integers(1, 12), min_size=1, max_size=5))
def test_hypoexponential_is_a_phase_type(time: float, sizes: set[int]) -> None:
    means = np.array(sorted(sizes)) / 3
    generator = np.diag(-1 / means) + np.diag(1 / means[:-1], 1)
    expected = linalg.expm(generator * time)[0].sum()
    assert hypoexponential_survival(time, means) == pytest.approx(expected, abs=1e-9)


def test_nearly_equal_stages_approach_erlang() -> None:
    near = hypoexponential_survival(2.0, [1.0, 1.0 + 1e-5])
    assert near == pytest.approx(erlang_survival(2.0, 2, 1.0), abs=1e-5)
    with pytest.raises(ValueError, match="means_s must be further apart"):
        hypoexponential_survival(2.0, [1.0, 1.0 + 1e-7])
    with pytest.raises(ValueError, match="means_s must be further apart"):
        hypoexponential_survival(2.0, [1.0, 2.0, 1.0])


@given(TIME, st.floats(0.1, 5.0), st.floats(0.1, 5.0))
def test_slowest_of_two_by_inclusion_and_exclusion(time: float, a: float, b: float) -> None:
    both = math.exp(-time * (1 / a + 1 / b))
    expected = math.exp(-time / a) + math.exp(-time / b) - both
    assert slowest_survival(time, [a, b]) == pytest.approx(expected, abs=1e-14)
    assert slowest_survival(0.0, [a, b]) == 1


@given(st.floats(0.01, 0.9999), st.floats(0.001, 0.999), st.floats(0.1, 100.0))
def test_branch_quantile_inverts_its_survival(q: float, share: float, slow: float) -> None:
    shares, means = [1 - share, share], [1.0, slow]
    value = branch_quantile(q, shares, means)
    assert branch_survival(value, shares, means) == pytest.approx(1 - q, rel=1e-9)
    parts = [-math.log1p(-q), -math.log1p(-q) * slow]
    assert min(parts) - 1e-12 <= value <= max(parts) + 1e-12
    plain, weighted = averaged_quantiles(q, shares, means)
    assert plain == pytest.approx(sum(parts) / 2)
    assert weighted == pytest.approx((1 - share) * parts[0] + share * parts[1])


def test_equal_parts_are_the_one_case_that_averages() -> None:
    shares, means = [0.2, 0.3, 0.5], [3.0, 3.0, 3.0]
    p99 = branch_quantile(0.99, shares, means)
    assert p99 == pytest.approx(3 * math.log(100), rel=1e-12)
    assert averaged_quantiles(0.99, shares, means) == pytest.approx((p99, p99))
    assert branch_survival(0.0, shares, means) == pytest.approx(1.0)


@given(st.floats(0.01, 0.9999), st.integers(1, 40), st.floats(0.001, 50.0))
def test_erlang_quantile_is_that_of_a_gamma(q: float, stages: int, mean: float) -> None:
    expected = stats.gamma(stages, scale=mean).ppf(q)
    assert erlang_quantile(q, stages, mean) == pytest.approx(expected, rel=1e-8, abs=1e-9)


def test_numbers_of_the_page_by_hand() -> None:
    """The p99 of an exponential is ln 100 means; 10 and 1000 ms, of which one in a hundred."""
    shown = example()
    assert shown.mean_of_p99s_ms == pytest.approx(math.log(100) * 505, rel=1e-12)
    assert shown.weighted_p99s_ms == pytest.approx(math.log(100) * 19.9, rel=1e-12)
