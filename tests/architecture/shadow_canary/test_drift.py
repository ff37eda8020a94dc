"""PSI, Jensen–Shannon and their null: scipy as oracle, bounds, symmetry, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance
from serving_mathematics.architecture.shadow_canary.drift import (
    CURRENT,
    FLOOR,
    MODERATE,
    REFERENCE,
    SIGNIFICANT,
    chi_square_survival,
    drift_p_value,
    jensen_shannon,
    psi,
    psi_null_quantile,
)

COUNTS = st.lists(st.integers(0, 1000), min_size=3, max_size=3).filter(any)
POSITIVE = st.lists(st.integers(1, 1000), min_size=4, max_size=4)


@given(POSITIVE, POSITIVE)
def test_psi_is_both_relative_entropies(reference: list[int], current: list[int]) -> None:
    expected = stats.entropy(reference, current) + stats.entropy(current, reference)
    assert psi(reference, current, floor=0.0) == pytest.approx(expected, abs=1e-12)
    assert psi(current, reference) == pytest.approx(psi(reference, current))
    assert psi(np.array(reference) * 7, current) == pytest.approx(psi(reference, current))


@given(COUNTS, COUNTS)
def test_jensen_shannon_is_scipy_squared(reference: list[int], current: list[int]) -> None:
    got = float(jensen_shannon(reference, current))
    expected = distance.jensenshannon(reference, current) ** 2
    assert got == pytest.approx(0.0 if math.isnan(expected) else expected, abs=1e-12)
    assert -1e-15 <= got <= math.log(2) + 1e-12


@given(POSITIVE, POSITIVE)
def test_psi_is_more_than_eight_jensen_shannon(a: list[int], b: list[int]) -> None:
    assert psi(a, b, floor=0.0) >= 8 * jensen_shannon(a, b) - 1e-12


def test_empty_bins_cost_the_logarithm_of_the_floor() -> None:
    index = psi([0.0, 1.0], [0.5, 0.5], floor=1e-6)
    expected = 0.5 * math.log(0.500001 / 1e-6) - 0.5 * math.log(0.500001 / 1.000001)
    assert index == pytest.approx(expected)
    assert FLOOR < MODERATE < psi(REFERENCE, CURRENT) < SIGNIFICANT


def test_many_windows_at_once() -> None:
    rng = np.random.default_rng(0)
    reference, current = rng.integers(1, 50, 5), rng.integers(1, 50, (3, 2, 5))
    for function in (psi, jensen_shannon):
        table = function(reference, current)
        assert table.shape == (3, 2)
        assert table[1, 1] == pytest.approx(float(function(reference, current[1, 1])))


@given(st.floats(0, 400), st.integers(1, 300))
def test_chi_square_survival_is_scipy(value: float, degrees: int) -> None:
    expected = stats.chi2.sf(value, degrees)
    assert chi_square_survival(value, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-13)


@given(st.floats(0.01, 0.999), st.integers(2, 60), st.floats(10, 1e6), st.floats(10, 1e6))
def test_null_quantile_is_scipy(q: float, bins: int, n: float, m: float) -> None:
    expected = stats.chi2.ppf(q, bins - 1) * (1 / n + 1 / m)
    assert psi_null_quantile(q, bins, n, m) == pytest.approx(expected, rel=1e-9)


def test_a_known_reference_leaves_the_current_sample() -> None:
    alone = psi_null_quantile(0.95, 10, math.inf, 1000)
    assert alone == pytest.approx(psi_null_quantile(0.95, 10, 1000, 1000) / 2)


def test_p_value_is_close_to_the_test_of_homogeneity() -> None:
    n, m = [212, 288, 251, 249], [480, 622, 506, 492]
    expected = stats.chi2_contingency([n, m], correction=False).pvalue
    assert drift_p_value(n, m) == pytest.approx(expected, abs=0.005)
    assert drift_p_value(n, n) == 1.0
    smaller = drift_p_value([20, 30, 25, 25], [10, 25, 30, 35])
    larger = drift_p_value([200, 300, 250, 250], [100, 250, 300, 350])
    assert larger < 0.01 < smaller


def test_bad_input_is_refused() -> None:
    for function in (psi, jensen_shannon):
        with pytest.raises(ValueError, match="reference must be two bins or more"):
            function([1.0], [1.0])
        with pytest.raises(ValueError, match="reference must be two bins or more"):
            function(1.0, [1.0, 2.0])
        with pytest.raises(ValueError, match="current must be non-negative"):
            function([1, 1], [1, math.nan])
        with pytest.raises(ValueError, match="current must be more than nothing"):
            function([1, 1], [0, 0])
        with pytest.raises(ValueError, match="current must be of 2 bins"):
            function([1, 1], [1, 1, 1])
    for floor in (-0.1, 0.1, math.nan):
        with pytest.raises(ValueError, match=r"floor must be in \[0, 0.1\)"):
            psi([1, 1], [1, 1], floor)
    with pytest.raises(ValueError, match="floor must be positive where a bin is empty"):
        psi([1, 1], [1, 0], 0.0)
    for value in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="value must be non-negative and finite"):
            chi_square_survival(value, 3)
    for degrees in (0, 301, 1.5):
        with pytest.raises(ValueError, match="degrees must be an integer from 1 to 300"):
            chi_square_survival(1.0, degrees)  # type: ignore[arg-type]
    for q in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"probability must be in \(0, 1\)"):
            psi_null_quantile(q, 10, 10, 10)
    for bins in (1, 302, 2.5):
        with pytest.raises(ValueError, match="bins must be an integer from 2 to 301"):
            psi_null_quantile(0.9, bins, 10, 10)  # type: ignore[arg-type]
    for count in (0.0, math.nan):
        with pytest.raises(ValueError, match="reference_count must be positive"):
            psi_null_quantile(0.9, 10, count, 10)
    for count in (0.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="current_count must be positive and finite"):
            psi_null_quantile(0.9, 10, 10, count)
    for bad in ([1, 0], [1.5, 2], [1, math.inf], [[1, 2]]):
        with pytest.raises(ValueError, match="reference_counts must be positive counts"):
            drift_p_value(bad, [1, 2])
        with pytest.raises(ValueError, match="current_counts must be positive counts"):
            drift_p_value([1, 2], bad)
    for few in ([], [5]):
        with pytest.raises(ValueError, match="reference_counts must be of two bins or more"):
            drift_p_value(few, [1, 2])
        with pytest.raises(ValueError, match="current_counts must be of two bins or more"):
            drift_p_value([1, 2], few)
